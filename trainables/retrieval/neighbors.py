"""The nearest entries of every position of a split, found once: the stages ``neighbors-…``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from trainables.language import Split
from trainables.retrieval.datastore import Datastore, mapped_tensor
from trainables.retrieval.index import Searcher
from trainables.retrieval.keys import KeyLayer, encode
from trainables.retrieval.statistics import TokenStatistics, token_statistics
from trainables.task import TokenModule
from trainables.tasks._language.corpus_data import CorpusData, windows

Excluded = Literal["nothing", "itself", "document"]
"""What a position of the training text does not find: nothing is left out, its own entry, or the entries of its document."""

KEPT = (16, 64, 1024, 4096)
_SAMPLE = 256
"""Positions whose approximate neighbours are compared with the exact ones."""
_WINDOWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Of each of P positions its k nearest entries, and what the base says there."""

    distances: Tensor
    """(P, k) float32, ascending: squared Euclidean distances, or negative inner products."""
    tokens: Tensor
    """(P, k) int64: the tokens that followed in the training text."""
    target_log_probability: Tensor
    """(P,) float32, nats, of the base: of the target, as the next three (see :class:`TokenStatistics`)."""
    largest_log_probability: Tensor
    entropy: Tensor
    largest_token: Tensor

    @classmethod
    def of(cls, distances: Tensor, tokens: Tensor, base: TokenStatistics) -> Neighbors:
        of_base = (base.target_log_probability, base.largest_log_probability, base.entropy, base.largest_token)
        return cls(distances, tokens, *of_base)


def kept_neighbors(k: int, size: int) -> int:
    """How many neighbours are looked for where k are wanted: the next of 16, 64, 1024, 4096, at most the ``size`` of the store.

    So most runs with another k share a stage, and an approximate search finds the same for the smaller k.
    """
    return min(next((kept for kept in KEPT if kept >= k), k), size)


@dataclass(frozen=True, slots=True)
class RetrievedSplit:
    """What a stage ``neighbors-…`` holds, memory-mapped; every array has a row for each of the n positions of a split."""

    store: Datastore
    distances: Tensor
    """(n, K) float32."""
    indices: Tensor
    """(n, K) int32, entries of the store."""
    statistics: TokenStatistics
    """Of the base; (n,) each."""
    recall: tuple[Tensor, Tensor] | None = None
    """Of an approximate search on a sample of m positions: the indices found and the exact ones, (m, K) int32."""

    @classmethod
    def open(cls, folder: Path, store: Datastore) -> RetrievedSplit:
        names = ("target_log_probability", "largest_log_probability", "entropy", "largest_token")
        statistics = TokenStatistics(*(mapped_tensor(folder / f"{name}.npy") for name in names))
        sampled = None
        if (folder / "exact_indices.npy").is_file():
            sampled = mapped_tensor(folder / "sampled_indices.npy"), mapped_tensor(folder / "exact_indices.npy")
        return cls(store, mapped_tensor(folder / "distances.npy"), mapped_tensor(folder / "indices.npy"), statistics, sampled)

    def tokens(self, positions: Tensor, k: int) -> Tensor:
        """(P, k) int64: the tokens of the k nearest entries of positions (P,)."""
        return self.store.tokens(self.indices[positions.cpu(), :k].long()).to(positions.device)

    def read(self, positions: Tensor, k: int) -> Neighbors:
        """Of the positions (P,) int64 the k nearest, on the device of ``positions``."""
        rows, device = positions.cpu(), positions.device
        base = self.statistics.at(rows)
        return Neighbors(
            self.distances[rows, :k].to(device),
            self.tokens(positions, k),
            base.target_log_probability.to(device),
            base.largest_log_probability.to(device),
            base.entropy.to(device),
            base.largest_token.long().to(device),
        )

    def recall_at(self, k: int) -> float | None:
        """Which share of the k nearest the search finds, on a sample of positions; None where it is exact."""
        if self.recall is None:
            return None
        found, exact = (indices[:, :k].long() for indices in self.recall)
        hits = sum(len(np.intersect1d(one, other)) for one, other in zip(found.numpy(), exact.numpy(), strict=True))
        return hits / found.numel()


@dataclass(frozen=True, slots=True)
class Queries:
    """Scored positions of a batch, in order: of each its number in the split, its key and what the base says."""

    positions: Tensor
    keys: Tensor
    statistics: TokenStatistics


def base_queries(
    base: nn.Module, data: CorpusData, split: Split, *, key_layer: KeyLayer, length: int, stride: int, device: torch.device
) -> Iterator[Queries]:
    """Every position of a split once, in sliding windows; the base is in evaluation mode, without gradients."""
    head = cast(TokenModule, base)
    for batch in windows(data, split, length, stride, device, _WINDOWS_AT_ONCE):
        with torch.inference_mode():
            states, keys = encode(base, batch.ids, key_layer)
            scored = batch.scored
            statistics = token_statistics(head, states[scored], batch.targets[scored])
        yield Queries(batch.positions[scored], keys[scored], statistics)


def write_neighbors(
    folder: Path,
    queries: Iterator[Queries],
    searcher: Searcher,
    *,
    count: int,
    kept: int,
    excluded: Tensor | None,
    sampled: bool,
) -> None:
    """Writes the files of a :class:`RetrievedSplit` of ``count`` positions.

    ``excluded`` (n, 2) int64 says for each position which entries it does not find. With ``sampled`` some positions are searched
    exactly too, to know the recall.
    """
    writer = _Writer(folder, count, kept)
    sample = torch.linspace(0, count - 1, min(count, _SAMPLE)).long()
    exact: dict[int, tuple[Tensor, Tensor]] = {}
    for some in queries:
        hidden = None if excluded is None else excluded[some.positions.cpu()].to(some.keys.device)
        distances, indices = searcher.nearest(some.keys, kept, hidden)
        writer.write(some, distances, indices)
        if sampled:
            chosen = torch.isin(some.positions.cpu(), sample).to(some.keys.device)
            _, true = searcher.exact(some.keys[chosen], kept, None if hidden is None else hidden[chosen])
            places = some.positions[chosen].tolist()
            exact.update(zip(places, zip(indices[chosen].int().cpu(), true.int().cpu(), strict=True), strict=True))
    if sampled:
        for name, place in (("sampled_indices", 0), ("exact_indices", 1)):
            np.save(folder / f"{name}.npy", torch.stack([exact[position][place] for position in sorted(exact)]).numpy())
    writer.close()


class _Writer:
    def __init__(self, folder: Path, count: int, kept: int) -> None:
        shapes = {
            "distances": ((count, kept), np.float32),
            "indices": ((count, kept), np.int32),
            "target_log_probability": ((count,), np.float32),
            "largest_log_probability": ((count,), np.float32),
            "entropy": ((count,), np.float32),
            "largest_token": ((count,), np.int32),
        }
        self._files: dict[str, Any] = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
            for name, (shape, dtype) in shapes.items()
        }

    def write(self, queries: Queries, distances: Tensor, indices: Tensor) -> None:
        rows, base = queries.positions.cpu().numpy(), queries.statistics
        values = {
            "distances": distances,
            "indices": indices,
            "target_log_probability": base.target_log_probability,
            "largest_log_probability": base.largest_log_probability,
            "entropy": base.entropy,
            "largest_token": base.largest_token,
        }
        for name, tensor in values.items():
            self._files[name][rows] = tensor.cpu().numpy()

    def close(self) -> None:
        for file in self._files.values():
            file.flush()
