"""From the stream to heads and back: project, short convolution, kernel, gate, norm, rotary position; then out again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.layers.activations import ACTIVATIONS, Activation
from trainables.layers.feature_maps import KERNELS, NORMS, Kernel, Norm
from trainables.layers.rotary import rotate
from trainables.layers.short_convolution import ShortConvolution


class HeadFeatures(nn.Module):
    """What happens to a projection on its way to the mixing: kernel, gate, norm and rotary position, in this order.

    A gate multiplies by ``sigmoid(Linear(x))`` and costs dim * n_heads * width parameters; ``rope_theta`` None leaves
    positions out.
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        width: int,
        *,
        kernel: Kernel = "none",
        norm: Norm = "none",
        gated: bool = False,
        rope_theta: float | None = None,
    ) -> None:
        super().__init__()
        self.n_heads, self.rope_theta = n_heads, rope_theta
        self.kernel, self.norm = KERNELS[kernel], NORMS[norm]
        self.gate = nn.Linear(dim, n_heads * width, bias=False) if gated else None

    def forward(self, x: Tensor, projected: Tensor) -> Tensor:
        """The stream ``x`` (B, T, dim) and a projection of it (B, T, H*width) to (B, H, T, width)."""
        return self.placed(self.content(x, projected))

    def content(self, x: Tensor, projected: Tensor) -> Tensor:
        """The same without positions, (B, T, H, width)."""
        by_head = (*x.shape[:2], self.n_heads, -1)
        features = self.kernel(projected.reshape(by_head))
        if self.gate is not None:
            features = features * torch.sigmoid(self.gate(x)).reshape(by_head)
        return self.norm(features)

    def placed(self, features: Tensor) -> Tensor:
        """What :meth:`content` returns, with positions: (B, T, H, width) to (B, H, T, width)."""
        if self.rope_theta is not None:
            features = rotate(features, self.rope_theta)
        # Last, so that attention returns the same layout and joining its heads copies nothing.
        return features.transpose(1, 2)


class HeadProjection(nn.Module):
    """A bias-free projection to heads, an optional short convolution of ``conv_width`` taps (0: none), and features."""

    def __init__(self, dim: int, n_heads: int, width: int, features: HeadFeatures, *, conv_width: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, n_heads * width, bias=False)
        self.convolution = ShortConvolution(n_heads * width, conv_width) if conv_width else None
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, H, T, width)."""
        heads: Tensor = self.features(x, self._projected(x))
        return heads

    def content(self, x: Tensor) -> Tensor:
        """The same without positions, (B, T, H, width); ``features.placed`` adds them."""
        return self.features.content(x, self._projected(x))

    def _projected(self, x: Tensor) -> Tensor:
        projected: Tensor = self.linear(x)
        return projected if self.convolution is None else self.convolution(projected)


class OutputProjection(nn.Module):
    """Joins the heads, multiplies them by an optional output gate ``act(Linear(x))`` and projects back to ``dim``."""

    def __init__(self, dim: int, n_heads: int, width: int, gate_act: Activation | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(n_heads * width, dim, bias=False)
        self.gate = nn.Linear(dim, n_heads * width, bias=False) if gate_act else None
        self.gate_act = ACTIVATIONS[gate_act] if gate_act else None

    def forward(self, x: Tensor, heads: Tensor) -> Tensor:
        """The stream ``x`` (B, T, dim) and mixed heads (B, H, T, width) to (B, T, dim)."""
        joined = heads.transpose(1, 2).flatten(2)
        if self.gate is not None and self.gate_act is not None:
            joined = joined * self.gate_act(self.gate(x))
        output: Tensor = self.linear(joined)
        return output
