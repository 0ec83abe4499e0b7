"""A frozen language model mixed with its neighbours by how near they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.language import Split, TokenBatch
from trainables.retrieval.configuration import RetrievalConfiguration, retrieval_pair_rules
from trainables.retrieval.heads.distance_fit import FitPoints
from trainables.retrieval.heads.distance_weight import FITTED, AdaptiveMode, distance_weight_buffers, make_distance_weight
from trainables.retrieval.heads.fitted_text import fit_batches
from trainables.retrieval.heads.observed_weight import OBSERVED, ObservedWeight
from trainables.retrieval.mixing import interpolate, knn_target_probability, neighbor_weights
from trainables.retrieval.model import RetrievalLanguageModel
from trainables.retrieval.neighbors import Neighbors


@dataclass(frozen=True, kw_only=True)
class AdaptiveKnnLmConfiguration(RetrievalConfiguration):
    """Defaults follow Drozdov et al. 2022."""

    mode: AdaptiveMode = hyperparameter(
        "buckets",
        "share of the neighbours: one for each range of distances of the nearest (buckets), one that falls exponentially with "
        "that distance, or one for all (fixed); fitted on the split fit",
    )
    n_buckets: int = hyperparameter(64, "ranges of distances, equally full on the split fit; for mode buckets", minimum=1)
    min_bucket_count: int = hyperparameter(
        50, "positions of the split fit that a range needs for a share of its own; others take the best one for all", minimum=0
    )
    knn_temperature: float = hyperparameter(
        1.0, "temperature of the softmax over negative distances, in their own unit, which grows with the width of keys", above=0
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *RetrievalConfiguration.rules,
        Rule(
            lambda c: (c.mode != "exponential") | (c.metric == "l2"),
            "an exponential needs distances that begin at 0: set metric: l2, or mode: buckets",
        ),
    )


@register_architecture(
    "adaptive_knn_lm", configuration=AdaptiveKnnLmConfiguration, kind="tokens", pair_rules=retrieval_pair_rules
)
class AdaptiveKnnLm(RetrievalLanguageModel):
    """A frozen base mixed with its neighbours, whose share depends on how near the nearest is; fitted, not trained.

    Drozdov et al. 2022, 'You can't pick your neighbors, or can you? When and how to rely on retrieval in the kNN-LM'
    (arXiv 2210.15859).
    """

    evaluation_only: ClassVar[bool] = True
    retrieved_splits: ClassVar[tuple[Split, ...]] = ("fit", "val", "test")
    measured: ClassVar[tuple[str, ...]] = (*RetrievalLanguageModel.measured, *OBSERVED, *FITTED)

    def __init__(self, model: AdaptiveKnnLmConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.temperature = model.knn_temperature
        self.weight = make_distance_weight(model.mode, model.n_buckets, model.min_bucket_count)
        self.observed_weight = ObservedWeight()
        self._fitted: dict[str, float] = {}

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Takes what is shared, and fits the weights on the split ``fit``. Raises ValueError as its base class does."""
        super().attach(folders, data)
        device = next(self.base.parameters()).device
        with torch.no_grad():
            self._fitted = self.weight.fit(self._fit_points(data, device))

    def final_metrics(self) -> dict[str, float]:
        """Those of the datastore, and what the fit found."""
        return super().final_metrics() | self._fitted

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S), nats, at the scored positions; 0 elsewhere."""
        return self.map_neighbors(batch, self._mixed)

    def _mixed(self, neighbors: Neighbors, targets: Tensor) -> Tensor:
        weight = self.observed_weight(self.weight(neighbors.distances[:, 0]))
        return interpolate(neighbors.target_log_probability, self._found(neighbors, targets), weight)

    def _found(self, neighbors: Neighbors, targets: Tensor) -> Tensor:
        """(P,) probability of the targets under the neighbours."""
        return knn_target_probability(neighbor_weights(neighbors.distances, self.temperature), neighbors.tokens, targets)

    def _fit_points(self, data: Path, device: torch.device) -> FitPoints:
        parts = []
        for batch in fit_batches(data, device):
            neighbors = self.neighbors(batch)
            found = self._found(neighbors, batch.targets[batch.scored])
            parts.append(FitPoints.of(neighbors.target_log_probability, found, neighbors.distances[:, 0]))
        return FitPoints.joined(parts)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """As ``knn_lm``, and as buffers what is fitted."""
        counts = RetrievalLanguageModel.count(model, task)
        return replace(counts, buffers=counts.buffers + distance_weight_buffers(model.mode, model.n_buckets))
