"""Levels that read from each other: the last is read by the one before it, and so on up to the first, which inputs read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from trainables.layers.codebook.norm import GroupedNorm
from trainables.layers.codebook.soft import SoftCodebooks, heaviest_rows, soft_read


class AscendingReads(nn.Module):
    """``C'_i = R(N(C_i); C'_(i+1))`` from the last level, ``C'_L = C_L``, to the first; then ``R(h; C'_1)``.

    With ``residual`` what reads is added to what was read, in every step. The exchange among the codebooks depends on no input.
    Where nothing in it is learned it is done once, until a state is loaded or the module is moved.
    """

    def __init__(self, levels: Sequence[SoftCodebooks], norms: Sequence[GroupedNorm], residual: bool) -> None:
        super().__init__()
        self.levels, self.norms, self.residual = nn.ModuleList(levels), nn.ModuleList(norms), residual
        self.scale = levels[0].scale
        self.sizes = levels[0].sizes
        self._exchanged: tuple[list[tuple[Tensor, int]], Tensor] | None = None

    def forward(self, h: Tensor) -> Tensor:
        """(B, T, D) normalised vectors to (B, T, D)."""
        read = soft_read(h, [self.first_codebook()], self.scale)
        return h + read if self.residual else read

    def choose(self, h: Tensor) -> list[Tensor]:
        """Of (B, T, D) normalised vectors the row of the first level that was read most, (B, T) int64."""
        return heaviest_rows(h, [self.first_codebook()])

    def first_codebook(self) -> Tensor:
        """The (V_1, D) rows that inputs read, after the exchange."""
        if any(True for _ in self.parameters()):
            return self._exchange()
        sources = [(codebook, codebook._version) for codebook in self._codebooks()]
        if self._exchanged is None or not _are_same(self._exchanged[0], sources):
            # What is kept must serve training too, though the first to ask may be an evaluation.
            with torch.inference_mode(False), torch.no_grad():
                self._exchanged = sources, self._exchange()
        return self._exchanged[1]

    def _exchange(self) -> Tensor:
        *others, rows = self._codebooks()
        for codebook, norm in reversed(list(zip(others, self.norms, strict=True))):
            read = soft_read(norm(codebook), [rows], self.scale)
            rows = codebook + read if self.residual else read
        return rows

    def _codebooks(self) -> list[Tensor]:
        return [level.codebooks()[0] for level in cast(Iterable[SoftCodebooks], self.levels)]


def _are_same(before: list[tuple[Tensor, int]], now: list[tuple[Tensor, int]]) -> bool:
    """Whether these are the same tensors with the same content: torch counts every write in place."""
    return all(old is new and old_version == version for (old, old_version), (new, version) in zip(before, now, strict=True))
