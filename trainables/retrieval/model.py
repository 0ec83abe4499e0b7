"""A frozen base with its datastore: what every model that mixes them is built on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from trainables.configuration import Configuration
from trainables.counts import ParameterCounts
from trainables.language import Split, TokenBatch, target_log_probabilities
from trainables.retrieval.base import base_activation_elements, base_counts, base_width, build_base
from trainables.retrieval.datastore import Datastore
from trainables.retrieval.index import Searcher
from trainables.retrieval.keys import encode
from trainables.retrieval.neighbors import Neighbors, RetrievedSplit, kept_neighbors
from trainables.retrieval.prepared_stages import index_plan, inspect_retrieval, retrieval_stages
from trainables.retrieval.statistics import TokenStatistics, token_statistics
from trainables.shared_weights import load_weights
from trainables.stages import Stage
from trainables.task import Task, TokenModule
from trainables.tasks._language.corpus_data import CorpusData, windows

_ELEMENTS_AT_ONCE = 2**22
"""Neighbours held at once where no gradient is wanted."""
_LIVE_TARGETS, _LIVE_WINDOWS = 1024, 8
"""Of the test text, how many targets at least are predicted without anything found before, and in batches of how many windows."""
_LIVE_NATS = 0.05
"""By which these predictions may differ in the mean: the order of sums decides between neighbours that are equally near."""
INFERENCE = "throughput/inference_tokens_per_s"


class RetrievalLanguageModel(nn.Module):
    """A frozen ``base`` and the neighbours of what it reads.

    Subclasses say in :attr:`retrieved_splits` of which splits the neighbours are found once, by a stage that all runs share; they
    are read from there wherever a batch is of that very text, and found anew for any other. What the method costs in use, its
    memory and its speed, is measured at the end of a run, on a part of the test text that is read without those stages.
    Subclasses implement ``target_log_probabilities``, mostly by :meth:`map_neighbors`.
    """

    tasks: ClassVar[tuple[str, ...] | None] = ("language_modeling",)
    prepared_prefixes: ClassVar[tuple[str, ...]] = ("base.",)
    measured: ClassVar[tuple[str, ...]] = ("datastore/mib", "retrieval/recall")
    """Besides the throughput, which every model has."""
    retrieved_splits: ClassVar[tuple[Split, ...]] = ("val", "test")

    def __init__(self, model: Any, task: Any) -> None:
        super().__init__()
        self.base = build_base(model.base, task).requires_grad_(False).eval()
        self.n_neighbors: int = model.n_neighbors
        self._key_layer, self._plan = model.key_layer, index_plan(model, task)
        self._external = task.train_tokens * (base_width(model.base) + 1)
        self._store: Datastore | None = None
        self._retrieved: dict[Split, RetrievedSplit] = {}
        self._data: CorpusData | None = None
        self._task = task

    @property
    def blocks(self) -> nn.Module:
        return cast(nn.Module, self.base.blocks)

    @property
    def embedding(self) -> nn.Module:
        return cast(nn.Module, self.base.embedding)

    def external_elements(self) -> int:
        """Numbers in the datastore: N keys and N values."""
        return int(self._external)

    def train(self, mode: bool = True) -> Self:
        """Only what is around the base is ever trained."""
        super().train(mode)
        self.base.eval()
        return self

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Takes the base's weights, the datastore and the neighbours found before.

        Raises:
            ValueError: a folder does not hold what belongs to this model.
        """
        device = next(self.base.parameters()).device
        load_weights(self.base, folders["base"])
        self._store = Datastore.open(folders["datastore"], device)
        if self._store.keys.numel() + self._store.size != self._external:
            raise ValueError(f"{folders['datastore']} is not the datastore of this model: it has {self._store.size:,} entries")
        self._searcher = Searcher(self._store, self._plan, device, folders.get("index"))
        self._data = CorpusData(data)
        self._retrieved = {
            split: RetrievedSplit.open(folders[f"neighbors-{split}"], self._store)
            for split in self.retrieved_splits
            if f"neighbors-{split}" in folders
        }

    def final_metrics(self) -> dict[str, float]:
        """The size of the datastore, of an approximate search the recall on a sample of validation positions, and the speed.

        ``throughput/inference_tokens_per_s`` is that of the first 1,024 targets of the test text, or all, in its sliding windows:
        the base, the search and the mixture, with nothing that was found before. Positions that are context alone count too.

        Raises:
            RuntimeError: these predictions are not those that were made from what was found before.
        """
        store = self._attached()
        retrieved = self._retrieved.get("val")
        recall = None if retrieved is None else retrieved.recall_at(self.n_neighbors)
        speed = {} if "test" not in self._retrieved else {INFERENCE: self._live_speed()}
        return {"datastore/mib": store.mib} | ({} if recall is None else {"retrieval/recall": recall}) | speed

    def base_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S), nats: those that the base alone gives."""
        with torch.no_grad():
            if self._is_known(batch):
                known = self._retrieved[batch.split].statistics.target_log_probability
                return known[batch.positions.cpu()].to(batch.positions.device)
            return target_log_probabilities(self.base, batch)

    def neighbors(self, batch: TokenBatch, k: int | None = None) -> Neighbors:
        """Of the P scored positions of a batch, in their order, the ``k`` (default: ``n_neighbors``) nearest entries."""
        parts = list(self._parts(batch, k or self.n_neighbors, at_once=max(1, batch.ids.numel())))
        return parts[0][1]

    def map_neighbors(self, batch: TokenBatch, function: Callable[[Neighbors, Tensor], Tensor], k: int | None = None) -> Tensor:
        """(B, S): at the scored positions what ``function`` makes of the neighbours and the targets (P,), 0 elsewhere.

        ``function`` gives (P,) and is called for a piece of the positions at a time, so that few neighbours are held at once.
        """
        k = k or self.n_neighbors
        pieces = self._parts(batch, k, at_once=max(1, _ELEMENTS_AT_ONCE // k))
        values = torch.cat([function(neighbors, targets) for targets, neighbors in pieces])
        empty = torch.zeros(batch.ids.shape, dtype=values.dtype, device=values.device)
        return empty.masked_scatter(batch.scored, values)

    def _parts(self, batch: TokenBatch, k: int, at_once: int) -> Iterator[tuple[Tensor, Neighbors]]:
        """At least one piece."""
        targets = torch.split(batch.targets[batch.scored], at_once)
        found = self._known(batch, k, at_once) if self._is_known(batch) else self._looked_up(batch, k, at_once)
        yield from zip(targets, found, strict=True)

    def _known(self, batch: TokenBatch, k: int, at_once: int) -> Iterator[Neighbors]:
        retrieved = self._retrieved[batch.split]
        for positions in torch.split(batch.positions[batch.scored], at_once):
            yield retrieved.read(positions, k)

    def _is_known(self, batch: TokenBatch) -> bool:
        """Whether it is of a text whose neighbours were found before."""
        if self._data is None or batch.split not in self._retrieved:
            return False
        tokens, _ = self._data.tensors(batch.split, batch.ids.device)
        inside = int(batch.positions.max()) < self._data.count(batch.split)
        if not inside:
            return False
        same_ids = torch.equal(tokens[batch.positions].long(), batch.ids)
        return same_ids and torch.equal(tokens[batch.positions + 1].long(), batch.targets)

    def _looked_up(self, batch: TokenBatch, k: int, at_once: int) -> Iterator[Neighbors]:
        store, start = self._attached(), 0
        statistics, keys = self._read_by_base(batch)
        for queries in torch.split(keys, at_once):
            with torch.no_grad():  # not over the yield, behind which others go on
                distances, indices = self._searcher.nearest(queries, kept_neighbors(k, store.size))
                found = distances[:, :k], store.tokens(indices[:, :k])
            yield Neighbors.of(*found, statistics.at(slice(start, start + len(queries))))
            start += len(queries)

    @torch.no_grad()
    def _read_by_base(self, batch: TokenBatch) -> tuple[TokenStatistics, Tensor]:
        """Of the P scored positions what the base says, and their keys (P, Dk)."""
        states, keys = encode(self.base, batch.ids, self._key_layer)
        scored = batch.scored
        return token_statistics(cast(TokenModule, self.base), states[scored], batch.targets[scored]), keys[scored]

    def _live_speed(self) -> float:
        """Positions a second; see :meth:`final_metrics`."""
        batches = list(self._live_batches())
        expected = self._mean_nats(batches)
        self._searcher.make_ready()
        with self._without_stages():
            started = time.perf_counter()
            live = self._mean_nats(batches)
            seconds = time.perf_counter() - started
        if not abs(live - expected) <= _LIVE_NATS * max(1.0, abs(expected)):
            problem = f"neighbours found before give {expected:.4f} nats a target of the test text, those found now {live:.4f}"
            raise RuntimeError(f"{problem}: remove the folders neighbors-… of the sweep's artifacts, and they will be made again")
        return sum(batch.ids.numel() for batch in batches) / seconds

    def _live_batches(self) -> Iterator[TokenBatch]:
        assert self._data is not None
        device, scored = next(self.base.parameters()).device, 0
        for batch in windows(self._data, "test", self._task.input_seq_len, self._task.stride, device, _LIVE_WINDOWS):
            yield batch
            scored += int(batch.scored.sum())
            if scored >= _LIVE_TARGETS:
                return

    def _mean_nats(self, batches: Sequence[TokenBatch]) -> float:
        with torch.no_grad():
            nats = [-target_log_probabilities(self, batch)[batch.scored].double() for batch in batches]
        return torch.cat(nats).mean().item()

    @contextmanager
    def _without_stages(self) -> Iterator[None]:
        known, self._retrieved = self._retrieved, {}
        try:
            yield
        finally:
            self._retrieved = known

    def _attached(self) -> Datastore:
        if self._store is None:
            raise RuntimeError("the model has no datastore yet: attach it to the folders of its stages")
        return self._store

    @classmethod
    def stages(cls, model: Any, task_type: type[Task], task: Configuration) -> Sequence[Stage]:
        return retrieval_stages(model, task_type, task, splits=cls.retrieved_splits)

    @staticmethod
    def inspect(model: Any, task: Any) -> None:
        inspect_retrieval(model, task)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """The base's, all frozen, and outside the module N * (Dk + 1) numbers; fields may be NumPy arrays."""
        counts = base_counts(model.base, task)
        return replace(counts, external=task.train_tokens * (base_width(model.base) + 1))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Those of a pass through the base."""
        return base_activation_elements(model.base, task)
