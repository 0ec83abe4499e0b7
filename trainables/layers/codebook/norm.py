"""One LayerNorm for all groups of a vector."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.layers.codebook.configuration import LevelNorm


class GroupedNorm(nn.Module):
    """Splits D numbers into G groups and normalises each on its own; gains and shifts (D/G each) are shared by the groups."""

    def __init__(self, dim: int, groups: int, kind: LevelNorm) -> None:
        super().__init__()
        self.groups = groups
        self.norm = nn.Identity() if kind == "none" else nn.LayerNorm(dim // groups, elementwise_affine=kind == "affine")

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        normalised: Tensor = self.norm(x.reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups))
        return normalised.flatten(-2)
