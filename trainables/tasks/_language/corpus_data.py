"""The tokens of a corpus in memory-mapped files, and the batches that are cut from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.language import SPLITS, Split, TokenBatch

IntArray = npt.NDArray[np.int32]
META = "meta.json"


class CorpusData:
    """The prepared data of the task ``language_modeling``, memory-mapped.

    Of a split with n scored targets ``tokens[split]`` are its n + 1 tokens and ``documents[split]`` the number of the document of
    each, not decreasing; both int32. ``meta`` holds plain values, of each split the bytes and the words of its targets' text.
    """

    def __init__(self, folder: Path) -> None:
        self.tokens: dict[Split, IntArray] = {split: _mapped(folder, split, "tokens") for split in SPLITS}
        self.documents: dict[Split, IntArray] = {split: _mapped(folder, split, "documents") for split in SPLITS}
        self.meta: dict[str, Any] = json.loads((folder / META).read_text())
        self._tensors: dict[tuple[Split, torch.device], tuple[Tensor, Tensor]] = {}

    def count(self, split: Split) -> int:
        """The number n of scored targets of a split."""
        return len(self.tokens[split]) - 1

    def tensors(self, split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
        """Tokens and documents, int32 (n + 1,): on the CPU the mapped files, on another device a copy, made once."""
        if (split, device) not in self._tensors:
            arrays = self.tokens[split], self.documents[split]
            tokens, documents = (torch.from_numpy(array).to(device) for array in arrays)
            self._tensors[split, device] = tokens, documents
        return self._tensors[split, device]

    def cut(self, split: Split, starts: Tensor, length: int, scored_from: Tensor, device: torch.device) -> TokenBatch:
        """The stretches of ``length`` tokens that begin at ``starts`` (B,), int64.

        Of each the targets of the tokens at position ``scored_from`` (B,) of the split and behind it are scored.
        """
        tokens, documents = self.tensors(split, device)
        positions = starts.to(device).unsqueeze(1) + torch.arange(length, device=device)
        return TokenBatch(
            ids=tokens[positions].long(),
            targets=tokens[positions + 1].long(),
            documents=documents[positions].long(),
            positions=positions,
            scored=positions >= scored_from.to(device).unsqueeze(1),
            split=split,
        )


def windows(
    data: CorpusData, split: Split, length: int, stride: int, device: torch.device, batch_size: int
) -> Iterator[TokenBatch]:
    """Sliding windows of ``length`` tokens, ``stride`` (1 to ``length``) apart, which score each target of a split once.

    The target of position p is scored with at least ``min(p, length - stride)`` tokens before that position in its window. All
    windows are whole but the last one, which comes in a batch of its own where it is shorter.
    """
    count = data.count(split)
    behind_first = -(-max(0, count - length) // stride)
    starts = torch.arange(behind_first + 1) * stride
    scored_from = torch.where(starts > 0, starts + (length - stride), 0)
    whole = starts + length <= count
    for rows in torch.split(whole.nonzero().squeeze(1), batch_size):
        if len(rows):
            yield data.cut(split, starts[rows], length, scored_from[rows], device)
    if not whole[-1]:
        yield data.cut(split, starts[-1:], count - int(starts[-1]), scored_from[-1:], device)


def stretches(data: CorpusData, split: Split, length: int, device: torch.device, batch_size: int) -> Iterator[TokenBatch]:
    """Stretches of ``length`` tokens one behind the other, all scored; a shorter last one comes in a batch of its own."""
    return windows(data, split, length, length, device, batch_size)


class TrainingExamples:
    """A split cut into examples of ``length`` tokens, each target scored once in an epoch.

    Where ``length`` does not divide the split, the last example begins earlier, and what the one before it has scored is
    context.

    Raises:
        ValueError: the split has fewer targets than an example.
    """

    def __init__(self, data: CorpusData, split: Split, length: int, device: torch.device) -> None:
        count = data.count(split)
        if count < length:
            raise ValueError(
                f"the split {split} has {count:,} targets and an example {length:,}: lower segments or input_seq_len"
            )
        self._data, self._split, self._length, self._device = data, split, length, device
        self._scored_from = torch.arange(0, count, length)
        self._starts = self._scored_from.clamp(max=count - length)

    def __len__(self) -> int:
        return len(self._starts)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[TokenBatch]:
        """Batches (B, length) of the examples in the given order (int64)."""
        for rows in torch.split(order.cpu(), batch_size):
            yield self._data.cut(self._split, self._starts[rows], self._length, self._scored_from[rows], self._device)


def as_windows(batch: TokenBatch, length: int) -> TokenBatch:
    """The same text in rows of ``length`` tokens: (B, n * length) to (B * n, length)."""

    def cut(values: Tensor) -> Tensor:
        return values.reshape(-1, length)

    return TokenBatch(
        ids=cut(batch.ids),
        targets=cut(batch.targets),
        documents=cut(batch.documents),
        positions=cut(batch.positions),
        scored=cut(batch.scored),
        split=batch.split,
    )


def write_split(folder: Path, split: Split, tokens: IntArray, documents: IntArray) -> None:
    """Writes the two files of a split; both arrays int32 (n + 1,)."""
    np.save(folder / f"{split}_tokens.npy", tokens)
    np.save(folder / f"{split}_documents.npy", documents)


def _mapped(folder: Path, split: Split, part: str) -> IntArray:
    # Copy-on-write rather than "r": torch warns about arrays that cannot be written. Nothing is written, so nothing is copied.
    array: IntArray = np.load(folder / f"{split}_{part}.npy", mmap_mode="c")
    return array
