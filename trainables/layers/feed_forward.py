"""The two-matrix feed-forward layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trainables.layers.activations import ACTIVATIONS, Activation


class FeedForward(nn.Module):
    """``W2 act(W1 x)`` with an inner width of ``expand_factor * dim`` and no biases."""

    def __init__(self, dim: int, expand_factor: int, act: Activation) -> None:
        super().__init__()
        self.keys = nn.Linear(dim, expand_factor * dim, bias=False)
        self.values = nn.Linear(expand_factor * dim, dim, bias=False)
        self.act = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        output: Tensor = self.values(self.act(self.keys(x)))
        return output


def feed_forward_parameters(dim: Any, expand_factor: Any) -> Any:
    """Number of parameters of a :class:`FeedForward`."""
    return 2 * expand_factor * dim * dim
