"""A frozen language model mixed with its neighbours by a small network, which is all that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.language import Split, TokenBatch
from trainables.retrieval.configuration import RetrievalConfiguration, retrieval_pair_rules
from trainables.retrieval.heads.adapter import (
    Adapter,
    adapted_log_probability,
    adapter_activations,
    adapter_buffers,
    adapter_parameters,
)
from trainables.retrieval.heads.adapter_features import adapter_features
from trainables.retrieval.heads.fitted_text import fit_batches
from trainables.retrieval.heads.observed_weight import OBSERVED, ObservedWeight
from trainables.retrieval.model import RetrievalLanguageModel
from trainables.retrieval.neighbors import Neighbors


@dataclass(frozen=True, kw_only=True)
class KnnAdapterConfiguration(RetrievalConfiguration):
    n_neighbors: int = hyperparameter(
        32, "entries of the datastore that are read for a token, each with a weight of its own", minimum=1
    )
    knn_temperature: float = hyperparameter(
        1.0, "temperature of the softmax over negative distances, in their own unit, which grows with the width of keys", above=0
    )
    hidden: int = hyperparameter(96, "hidden units of the adapter", minimum=1)
    dropout: float = hyperparameter(0.0, "share of the hidden units that is dropped in training", minimum=0, maximum=0.9)
    initial_weight: float = hyperparameter(0.25, "share of the neighbours before training", above=0, maximum=0.99)
    standardize: bool = hyperparameter(
        False,
        "give the adapter features of mean 0 and deviation 1 on the split fit, for distances of hundreds of temperatures",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *RetrievalConfiguration.rules,
        Rule(lambda c: c.metric == "l2", "the adapter reads ratios of distances, not of inner products: set metric: l2"),
    )


@register_architecture("knn_adapter", configuration=KnnAdapterConfiguration, kind="tokens", pair_rules=retrieval_pair_rules)
class KnnAdapter(RetrievalLanguageModel):
    """A frozen base mixed with its neighbours by a small network, trained on held-out text.

    After Huang et al. 2023, 'kNN-Adapter: Efficient Domain Adaptation for Black-Box Language Models' (arXiv 2302.10879); features
    and network are our own. Training text would not do: each of its positions is an entry of the datastore.
    """

    fits_on_validation: ClassVar[bool] = True
    retrieved_splits: ClassVar[tuple[Split, ...]] = ("fit", "val", "test")
    measured: ClassVar[tuple[str, ...]] = (*RetrievalLanguageModel.measured, *OBSERVED)

    def __init__(self, model: KnnAdapterConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.temperature, self._standardize = model.knn_temperature, model.standardize
        self.adapter = Adapter(model.n_neighbors, model.hidden, model.dropout, model.initial_weight)
        self.observed_weight = ObservedWeight()

    @property
    def blocks(self) -> nn.Module:
        """Those of the base and the adapter."""
        return nn.ModuleList([super().blocks, self.adapter])

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Takes what is shared, and scales features by the split ``fit``. Raises ValueError as its base class does."""
        super().attach(folders, data)
        if self._standardize:
            self.adapter.scale.fit(self._features_of_fit(data, next(self.base.parameters()).device))

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S), nats, at the scored positions; 0 elsewhere."""
        return self.map_neighbors(batch, self._mixed)

    def _mixed(self, neighbors: Neighbors, targets: Tensor) -> Tensor:
        logit, corrections = self.adapter(self._features(neighbors))
        self.observed_weight(logit.sigmoid())
        scores = corrections - neighbors.distances / self.temperature
        return adapted_log_probability(neighbors.target_log_probability, scores, neighbors.tokens, targets, logit)

    def _features(self, neighbors: Neighbors) -> Tensor:
        """(P, 2k + 8)."""
        of_base = (neighbors.largest_log_probability, neighbors.entropy, neighbors.largest_token)
        return adapter_features(neighbors.distances, neighbors.tokens, *of_base, self.temperature)

    def _features_of_fit(self, data: Path, device: torch.device) -> Iterator[Tensor]:
        for batch in fit_batches(data, device):
            yield self._features(self.neighbors(batch))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """As ``knn_lm``, and the adapter, which alone is trained."""
        counts, scale = RetrievalLanguageModel.count(model, task), adapter_buffers(model.n_neighbors)
        adapter = adapter_parameters(model.n_neighbors, model.hidden)
        return replace(counts, block=counts.block + adapter, buffers=counts.buffers + scale)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Those of the adapter: in training the base does not run, what it says is read from a stage."""
        return task.input_seq_len * adapter_activations(model.n_neighbors, model.hidden, model.dropout)
