"""Which entries of a memory each query may read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainables.retrieval.trime.windows import PADDING

Readable = Callable[[slice], Tensor]
"""Of a slice of q queries of each of R rows the entries that they may read: bool, broadcastable to (R, q, M)."""


def earlier(documents: Tensor, reach: int | None = None) -> Readable:
    """Entries before the query in its row of ``documents`` (R, Q), of its document, at most ``reach`` tokens back."""
    places = torch.arange(documents.shape[1], device=documents.device)
    farthest = documents.shape[1] if reach is None else reach

    def readable(rows: slice) -> Tensor:
        back = places[rows].unsqueeze(1) - places
        return (back > 0) & (back <= farthest) & (documents[:, rows].unsqueeze(2) == documents.unsqueeze(1))

    return readable


def in_batch(documents: Tensor, positions: Tensor, *, own_window: bool) -> Readable:
    """Over the tokens of all windows (W, T) as one row (1, W * T): those of every other window, of whatever document.

    With ``own_window`` also what :func:`earlier` gives. A position of the text that stands in two windows does not read itself.
    """
    count, width = documents.shape
    places = torch.arange(count * width, device=documents.device)
    windows, documents, positions = places // width, documents.flatten(), positions.flatten()

    def readable(rows: slice) -> Tensor:
        elsewhere = (windows[rows].unsqueeze(1) != windows) & (positions[rows].unsqueeze(1) != positions) & (documents != PADDING)
        if own_window:
            before = (windows[rows].unsqueeze(1) == windows) & (places[rows].unsqueeze(1) > places)
            elsewhere = elsewhere | (before & (documents[rows].unsqueeze(1) == documents))
        return elsewhere.unsqueeze(0)

    return readable
