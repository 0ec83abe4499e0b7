"""A transformer with a cache that mixes in the tokens of nearest neighbours, found by another model, inside the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from trainables.architecture import register_architecture
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.language import Split, TokenBatch, head_log_probabilities
from trainables.layers.neighbor_mixture import NeighborMixture
from trainables.layers.segment_model import SegmentModel, segment_activations
from trainables.retrieval.base import base_counts, base_pair_rules, base_width
from trainables.retrieval.configuration import RetrievalConfiguration
from trainables.retrieval.datastore import Datastore
from trainables.retrieval.neighbors import Excluded, RetrievedSplit
from trainables.retrieval.prepared_stages import inspect_retrieval, retrieval_stages
from trainables.stages import Stage
from trainables.task import Task, TokenModule

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SpalmConfiguration(GptConfiguration, RetrievalConfiguration):
    """Those of ``gpt``, of retrieval by a frozen base, and of the mixture."""

    n_neighbors: int = hyperparameter(4, "neighbours whose tokens are mixed in", minimum=1)
    cache: int = hyperparameter(128, "tokens before a window that it sees in every layer, without gradient", minimum=0)
    gate_bias_init: float = hyperparameter(2.0, "initial logit of the share of the hidden state; the rest is the neighbours'")
    exclude_document: bool = hyperparameter(
        False, "in training find no neighbours in the document that is read; else only not the position itself"
    )

    rules: ClassVar[tuple[Rule, ...]] = (*GptConfiguration.rules, *RetrievalConfiguration.rules)


@register_architecture(
    "spalm",
    configuration=SpalmConfiguration,
    kind="tokens",
    pair_rules=(
        *base_pair_rules,
        Rule(
            lambda model, task: model.n_neighbors < task.train_tokens,
            "n_neighbors must be less than task.train_tokens, since a position does not find itself: lower n_neighbors",
        ),
    ),
)
class Spalm(SegmentModel):
    """A cached transformer that mixes embeddings of the tokens behind similar contexts into its states, by a learned gate.

    Yogatama et al. 2021, 'Adaptive Semiparametric Language Models' (arXiv 2102.02557). Windows are segments of a
    Transformer-XL (rotary instead of its relative positions); the embedding is the output head too. Neighbours are those of a
    frozen base, found once for every position; their distances are not used. What changes in training is how they are read:
    keys stay, embeddings learn. The base and its datastore are outside the module.
    """

    tasks: ClassVar[tuple[str, ...]] = ("language_modeling",)
    reads_stretches: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = ("gate/mean", "gate/std", "datastore/mib", "retrieval/recall")

    def __init__(self, model: SpalmConfiguration, task: Any) -> None:
        super().__init__(model, task, task.input_seq_len, model.cache)
        self.output_head.weight = self.embedding.weight
        self.mixture = NeighborMixture(model.dim, model.gate_bias_init)
        self.n_neighbors = model.n_neighbors
        self._external_elements = int(self.count(model, task).external)
        self._store: Datastore | None = None
        self._retrieved: dict[str, RetrievedSplit] = {}

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Opens the neighbours of all splits; of the datastore the tokens are read, not the keys.

        Raises:
            ValueError: a folder does not hold what belongs to this model.
        """
        self._store = Datastore.open(folders["datastore"])
        self._retrieved = {split: RetrievedSplit.open(folders[f"neighbors-{split}"], self._store) for split in _SPLITS}
        for split, retrieved in self._retrieved.items():
            if retrieved.indices.shape[1] < self.n_neighbors:
                found = f"has {retrieved.indices.shape[1]} neighbours a position, fewer than n_neighbors ({self.n_neighbors})"
                raise ValueError(f"{folders[f'neighbors-{split}']} {found}: remove it, and it will be made again")

    def external_elements(self) -> int:
        """N keys, N values, and the parameters and buffers of the base."""
        return self._external_elements

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S) log-probabilities (nats) of the targets: ``softmax(W_emb z)``."""
        return head_log_probabilities(cast(TokenModule, self), self.mixed_states(batch), batch.targets)

    def mixed_states(self, batch: TokenBatch) -> Tensor:
        """(B, S, D): hidden states with the neighbours mixed in, which the output head reads."""
        tokens, present = self._neighbors(batch)
        states = self.hidden_states(batch.ids, batch.documents)
        mixed: Tensor = self.mixture(states.flatten(0, 1), tokens, present, self.embedding)
        return mixed.view(states.shape)

    def _neighbors(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B*S, k) int64 tokens, and which of them are there; fewer than k are where a document leaves no others."""
        if batch.split not in self._retrieved:
            raise RuntimeError(f"spalm has no neighbours of the split {batch.split}: attach it to the folders of its stages")
        retrieved, positions = self._retrieved[batch.split], batch.positions.flatten()
        distances = retrieved.distances[positions.cpu(), : self.n_neighbors]
        return retrieved.tokens(positions, self.n_neighbors), torch.isfinite(distances).to(positions.device)

    def final_metrics(self) -> dict[str, float]:
        """The size of the datastore and, of an approximate search, its recall on a sample of validation positions."""
        if self._store is None:
            raise RuntimeError("spalm has no datastore yet: attach it to the folders of its stages")
        recall = self._retrieved["val"].recall_at(self.n_neighbors)
        return {"datastore/mib": self._store.mib} | ({} if recall is None else {"retrieval/recall": recall})

    @staticmethod
    def stages(model: Any, task_type: type[Task], task: Configuration) -> Sequence[Stage]:
        """The base, its datastore and the neighbours of every position of all splits that are read."""
        excluded: Excluded = "document" if model.exclude_document else "itself"
        return retrieval_stages(model, task_type, task, splits=_SPLITS, excluded=excluded)

    @staticmethod
    def inspect(model: Any, task: Any) -> None:
        inspect_retrieval(model, task)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """As ``gpt`` with one table instead of two, and the gate; outside N * (Dk + 1) numbers and all of the base."""
        without, base = Gpt.count(model, task), base_counts(model.base, task)
        store = task.train_tokens * (base_width(model.base) + 1)
        other = 2 * model.dim + 1
        return ParameterCounts(without.block, without.embedding, other, external=store + base.total + base.buffers)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As of ``gpt`` and its segments; of each token the embeddings of its neighbours, their weights, and the mixture."""
        length = task.input_seq_len
        mixture = 2 * model.dim + 4 + model.n_neighbors * (model.dim + 4)
        segments = segment_activations(model, task, length, length, model.cache, documents=True)
        return Gpt.activation_elements(model, task) + segments + length * mixture
