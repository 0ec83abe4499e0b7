"""Levels that are read one after the other: the input reads the first, what it got reads the second, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from trainables.layers.codebook.hard import HardCodebooks
from trainables.layers.codebook.norm import GroupedNorm
from trainables.layers.codebook.soft import SoftCodebooks

Codebooks = SoftCodebooks | HardCodebooks


class DescendingReads(nn.Module):
    """``h_i = R(N(h_(i-1)); C_i)``, with ``residual`` ``h_i = h_(i-1) + R(...)``; the first level reads ``h_0`` as it is.

    Without residual each read is a convex combination of rows, so that vectors shrink from level to level; the norms N between
    the levels make up for it.
    """

    def __init__(self, levels: Sequence[Codebooks], norms: Sequence[GroupedNorm], residual: bool) -> None:
        super().__init__()
        self.levels, self.norms, self.residual = nn.ModuleList(levels), nn.ModuleList(norms), residual
        self.sizes = tuple(size for level in levels for size in level.sizes)

    def forward(self, h: Tensor) -> Tensor:
        """(B, T, D) normalised vectors to (B, T, D)."""
        for level, norm in self._levels():
            h = self._after(h, level(norm(h)))
        return h

    def choose(self, h: Tensor) -> list[Tensor]:
        """Of (B, T, D) normalised vectors the row of each codebook that was read most, (B, T) int64."""
        chosen: list[Tensor] = []
        for level, norm in self._levels():
            query = norm(h)
            chosen += level.choose(query)
            h = self._after(h, level(query, frozen=True))
        return chosen

    def _levels(self) -> Iterator[tuple[Codebooks, Callable[[Tensor], Tensor]]]:
        """The codebooks of each level, each with the norm of what reads them."""
        levels = cast(Iterable[Codebooks], self.levels)
        return zip(levels, [nn.Identity(), *self.norms], strict=True)

    def _after(self, h: Tensor, read: Tensor) -> Tensor:
        return h + read if self.residual else read
