"""Crops: stretches of equal length at random places of a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.language import Split, TokenBatch

Places = npt.NDArray[np.int64]
"""(n,): the first token of each crop."""

Purpose = Literal["train", "evaluation/train", "evaluation/val", "questions"]
_PURPOSES: tuple[Purpose, ...] = ("train", "evaluation/train", "evaluation/val", "questions")


def draws_for(purpose: Purpose, seed: int) -> np.random.Generator:
    """A generator of its own for each purpose, so that none changes what another one draws."""
    return np.random.default_rng([seed, _PURPOSES.index(purpose)])


class CropData:
    """The prepared tokens of ``train`` and ``val``, memory-mapped, and where there are such the documents that they are of."""

    def __init__(self, folder: Path) -> None:
        self.tokens = {split: _mapped(folder / f"{split}_tokens.npy") for split in ("train", "val")}
        documents = {split: folder / f"{split}_documents.npy" for split in ("train", "val")}
        self._documents = {split: _mapped(path) for split, path in documents.items() if path.is_file()}

    def targets(self, split: Split) -> int:
        """The number of tokens that have a token behind them."""
        return len(self.tokens[split]) - 1

    def batch(self, split: Split, places: Places, length: int, device: torch.device) -> TokenBatch:
        """The crops of ``length`` tokens at ``places`` (B,), as (B, length); without documents all is one."""
        positions = places[:, None] + np.arange(length)
        read = self.tokens[split][places[:, None] + np.arange(length + 1)].astype(np.int64)
        documents = self._documents.get(split)
        numbers = np.zeros_like(positions) if documents is None else documents[positions].astype(np.int64)
        return TokenBatch(
            ids=torch.from_numpy(read[:, :-1]).to(device),
            targets=torch.from_numpy(read[:, 1:]).to(device),
            documents=torch.from_numpy(numbers).to(device),
            positions=torch.from_numpy(positions).to(device),
            scored=torch.ones(positions.shape, dtype=torch.bool, device=device),
            split=split,
        )


def training_places(targets: int, length: int, count: int, seed: int) -> Places:
    """Anywhere in a split of that many targets."""
    return _places(targets - length, count, draws_for("train", seed))


def evaluation_places(split: Split, targets: int, length: int, count: int, seed: int) -> Places:
    """Places that are the same for all lengths up to a quarter of the split: a longer crop goes on where a shorter one ends.

    More crops begin with the same ones.
    """
    purpose: Purpose = "evaluation/train" if split == "train" else "evaluation/val"
    return _places(targets - max(length, targets // 4), count, draws_for(purpose, seed))


class Crops:
    """Some crops of a split, in an order."""

    def __init__(self, data: CropData, split: Split, places: Places, length: int, device: torch.device) -> None:
        self.places, self.length = places, length
        self._data, self._split, self._device = data, split, device

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[TokenBatch]:
        """Batches (B, length) in the given order (int64), or their own; the last one may be smaller."""
        rows = torch.arange(len(self)) if order is None else order.cpu()
        return (self._batch(part.numpy()) for part in torch.split(rows, batch_size))

    def overlapping_batches(self, batch_size: int) -> Iterator[TokenBatch]:
        """Batches of two crops or more in which each is followed by the next one, whatever the size.

        The last row of each is there for the one before it alone: it comes again at the beginning of the following batch, or is
        the first crop of all. So without the last rows each crop is there once.
        """
        step = max(2, batch_size) - 1
        for first in range(0, len(self), step):
            rows = np.arange(first, min(first + step, len(self)) + 1) % len(self)
            yield self._batch(rows)

    def _batch(self, rows: Places) -> TokenBatch:
        return self._data.batch(self._split, self.places[rows], self.length, self._device)


def _places(highest: int, count: int, draws: np.random.Generator) -> Places:
    return (draws.random(count) * (highest + 1)).astype(np.int64)


def _mapped(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    return array
