"""Training texts one behind the other in one stream of tokens, cut into examples of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.language import TokenBatch

IntArray = npt.NDArray[np.int32]


def pack(texts: Sequence[IntArray], boundary: int) -> tuple[IntArray, IntArray]:
    """The tokens of all texts with a boundary before each and behind the last, and the number of the text of each; int32 (n,)."""
    parts = [np.concatenate([[boundary], text]) for text in texts]
    tokens = np.concatenate([*parts, [boundary]])
    numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return tokens.astype(np.int32), np.append(numbers, len(parts)).astype(np.int32)


class PackedExamples:
    """A stream of n + 1 tokens cut into examples of ``length`` tokens, whose targets are each scored once.

    Where ``length`` does not divide n, the last example begins earlier, and what the one before it has scored is context. A
    stream that is shorter is one example.
    """

    def __init__(self, tokens: IntArray, documents: IntArray, length: int, device: torch.device) -> None:
        self._tokens, self._documents = (torch.from_numpy(array).to(device) for array in (tokens, documents))
        self._device = device
        count = len(tokens) - 1
        self.length = min(length, count)
        self._scored_from = torch.arange(0, count, self.length, device=device)
        self._starts = self._scored_from.clamp(max=count - self.length)

    def __len__(self) -> int:
        return len(self._starts)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[TokenBatch]:
        """Batches (B, length) of the examples in the given order (int64)."""
        for rows in torch.split(order.to(self._device), batch_size):
            positions = self._starts[rows].unsqueeze(1) + torch.arange(self.length, device=self._device)
            yield TokenBatch(
                ids=self._tokens[positions].long(),
                targets=self._tokens[positions + 1].long(),
                documents=self._documents[positions].long(),
                positions=positions,
                scored=positions >= self._scored_from[rows].unsqueeze(1),
                split="train",
            )


def write_packed(folder: Path, tokens: IntArray, documents: IntArray) -> None:
    """Writes ``train_tokens.npy`` and ``train_documents.npy``."""
    np.save(folder / "train_tokens.npy", tokens)
    np.save(folder / "train_documents.npy", documents)


def read_packed(folder: Path, length: int, device: torch.device) -> PackedExamples:
    """What :func:`write_packed` wrote, memory-mapped on the CPU."""
    # Copy-on-write rather than "r": torch warns about arrays that cannot be written. Nothing is written, so nothing is copied.
    tokens, documents = (np.load(folder / f"train_{part}.npy", mmap_mode="c") for part in ("tokens", "documents"))
    return PackedExamples(tokens, documents, length, device)
