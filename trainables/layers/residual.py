"""A pre-normalised residual branch."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.layers.rms_norm import RMSNorm


class Residual(nn.Module):
    """``x + branch(RMSNorm(x))``, or ``x * (1 + branch(RMSNorm(x)))`` when ``multiply`` is set."""

    def __init__(self, dim: int, branch: nn.Module, *, multiply: bool) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)
        self.branch = branch
        self.multiply = multiply

    def forward(self, x: Tensor, *context: Tensor | None) -> Tensor:
        """(B, T, dim) to (B, T, dim); ``context`` is what the branch takes besides."""
        update: Tensor = self.branch(self.norm(x), *context)
        return x * (1.0 + update) if self.multiply else x + update
