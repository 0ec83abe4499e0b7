"""Stretches of text cut into the windows that a model sees, with the token behind each as what a memory holds of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainables.language import TokenBatch

PADDING = -1
"""The document of what fills a last window: no memory holds it."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows (W, T) of the rows (B, S) of a batch, row by row; W = B * ceil(S / T). A shorter last one is filled."""

    ids: Tensor
    targets: Tensor
    tokens: Tensor
    """The token behind each in the text. Equal to ``targets``, but independent of them within a row: who asks for the
    probabilities of other targets does not change the memory."""
    documents: Tensor
    positions: Tensor
    shape: torch.Size
    """(B, S)."""

    @classmethod
    def of(cls, batch: TokenBatch, length: int) -> Windows:
        """Windows of ``length`` tokens, or of whole rows where these are shorter."""
        width = min(length, batch.ids.shape[1])
        behind = torch.cat((batch.ids[:, 1:], batch.targets[:, -1:]), 1)

        def cut(values: Tensor, filler: int = 0) -> Tensor:
            return functional.pad(values, (0, -values.shape[1] % width), value=filler).reshape(-1, width)

        return cls(
            ids=cut(batch.ids),
            targets=cut(batch.targets),
            tokens=cut(behind),
            documents=cut(batch.documents, PADDING),
            positions=cut(batch.positions, PADDING),
            shape=batch.ids.shape,
        )

    def in_rows(self, values: Tensor) -> Tensor:
        """(W, T, …) to (B, T * W / B, …): the windows of a row one behind the other again, the filling at its end."""
        return values.reshape(self.shape[0], -1, *values.shape[2:])

    def restored(self, values: Tensor) -> Tensor:
        """(W, T) to (B, S)."""
        return values.reshape(self.shape[0], -1)[:, : self.shape[1]]
