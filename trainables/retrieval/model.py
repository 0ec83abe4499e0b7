"""A frozen base with its datastore: what every model that mixes them is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from trainables.configuration import Configuration
from trainables.counts import ParameterCounts
from trainables.language import Split, TokenBatch, target_log_probabilities
from trainables.retrieval.base import base_activation_elements, base_counts, base_width, build_base, load_base
from trainables.retrieval.datastore import Datastore
from trainables.retrieval.index import Searcher
from trainables.retrieval.keys import encode
from trainables.retrieval.neighbors import Neighbors, RetrievedSplit, kept_neighbors
from trainables.retrieval.prepared_stages import index_plan, inspect_datastore, retrieval_stages
from trainables.retrieval.statistics import token_statistics
from trainables.stages import Stage
from trainables.task import Task, TokenModule

_ELEMENTS_AT_ONCE = 2**22
"""Neighbours held at once where no gradient is wanted."""


class RetrievalLanguageModel(nn.Module):
    """A frozen ``base`` and the neighbours of what it reads.

    Subclasses say in :attr:`retrieved_splits` of which splits the neighbours are found once, by a stage; of all others they are
    found each time, so that what is measured there is what the method costs. They implement ``target_log_probabilities``,
    mostly by :meth:`map_neighbors`.
    """

    tasks: ClassVar[tuple[str, ...] | None] = ("language_modeling",)
    prepared_prefixes: ClassVar[tuple[str, ...]] = ("base.",)
    measured: ClassVar[tuple[str, ...]] = ("datastore/mib", "retrieval/recall")
    retrieved_splits: ClassVar[tuple[Split, ...]] = ("val",)

    def __init__(self, model: Any, task: Any) -> None:
        super().__init__()
        self.base = build_base(model.base, task).requires_grad_(False).eval()
        self.n_neighbors: int = model.n_neighbors
        self._key_layer, self._plan = model.key_layer, index_plan(model, task)
        self._external = task.train_tokens * (base_width(model.base) + 1)
        self._store: Datastore | None = None
        self._retrieved: dict[str, RetrievedSplit] = {}

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
        load_base(self.base, folders["base"])
        self._store = Datastore.open(folders["datastore"], device)
        if self._store.keys.numel() + self._store.size != self._external:
            raise ValueError(f"{folders['datastore']} is not the datastore of this model: it has {self._store.size:,} entries")
        self._searcher = Searcher(self._store, self._plan, device, folders.get("index"))
        self._retrieved = {
            split: RetrievedSplit.open(folders[f"neighbors-{split}"], self._store)
            for split in self.retrieved_splits
            if f"neighbors-{split}" in folders
        }

    def final_metrics(self) -> dict[str, float]:
        """The size of the datastore, and of an approximate search the recall on a sample of validation positions."""
        store = self._attached()
        retrieved = self._retrieved.get("val")
        recall = None if retrieved is None else retrieved.recall_at(self.n_neighbors)
        return {"datastore/mib": store.mib} | ({} if recall is None else {"retrieval/recall": recall})

    def base_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S), nats: those that the base alone gives."""
        with torch.no_grad():
            if batch.split in self._retrieved:
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
        found = self._known(batch, k, at_once) if batch.split in self._retrieved else self._looked_up(batch, k, at_once)
        yield from zip(targets, found, strict=True)

    def _known(self, batch: TokenBatch, k: int, at_once: int) -> Iterator[Neighbors]:
        retrieved = self._retrieved[batch.split]
        for positions in torch.split(batch.positions[batch.scored], at_once):
            yield retrieved.read(positions, k)

    def _looked_up(self, batch: TokenBatch, k: int, at_once: int) -> Iterator[Neighbors]:
        store = self._attached()
        with torch.no_grad():
            states, keys = encode(self.base, batch.ids, self._key_layer)
            statistics = token_statistics(cast(TokenModule, self.base), states[batch.scored], batch.targets[batch.scored])
            kept, start = kept_neighbors(k, store.size), 0
            for queries in torch.split(keys[batch.scored], at_once):
                distances, indices = self._searcher.nearest(queries, kept)
                of_base = statistics.at(slice(start, start + len(queries)))
                yield Neighbors.of(distances[:, :k], store.tokens(indices[:, :k]), of_base)
                start += len(queries)

    def _attached(self) -> Datastore:
        if self._store is None:
            raise RuntimeError("the model has no datastore yet: attach it to the folders of its stages")
        return self._store

    @classmethod
    def stages(cls, model: Any, task_type: type[Task], task: Configuration) -> Sequence[Stage]:
        return retrieval_stages(model, task_type, task, splits=cls.retrieved_splits)

    @staticmethod
    def inspect(model: Any, task: Any) -> None:
        inspect_datastore(model, task)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """The base's, all frozen, and outside the module N * (Dk + 1) numbers; fields may be NumPy arrays."""
        counts = base_counts(model.base, task)
        return replace(counts, external=task.train_tokens * (base_width(model.base) + 1))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Those of a pass through the base."""
        return base_activation_elements(model.base, task)
