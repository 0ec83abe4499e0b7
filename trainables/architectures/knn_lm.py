"""A frozen language model mixed with what followed the most similar contexts of its training text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trainables.architecture import register_architecture
from trainables.configuration import hyperparameter
from trainables.language import TokenBatch
from trainables.retrieval.configuration import RetrievalConfiguration, retrieval_pair_rules
from trainables.retrieval.mixing import interpolate, knn_target_probability, neighbor_weights
from trainables.retrieval.model import RetrievalLanguageModel
from trainables.retrieval.neighbors import Neighbors


@dataclass(frozen=True, kw_only=True)
class KnnLmConfiguration(RetrievalConfiguration):
    """Defaults are those of Khandelwal et al. 2020."""

    knn_weight: float = hyperparameter(0.25, "share of the neighbours in the mixture; 0: the base alone", minimum=0, maximum=1)
    knn_temperature: float = hyperparameter(
        1.0,
        "temperature of the softmax over negative distances, in their own unit: the wider the keys, the larger both must be",
        above=0,
    )


@register_architecture("knn_lm", configuration=KnnLmConfiguration, kind="tokens", pair_rules=retrieval_pair_rules)
class KnnLm(RetrievalLanguageModel):
    """A frozen base mixed with the tokens that followed its nearest training contexts; nothing is trained.

    Khandelwal et al. 2020, 'Generalization through Memorization: Nearest Neighbor Language Models' (arXiv 1911.00172).
    """

    evaluation_only: ClassVar[bool] = True

    def __init__(self, model: KnnLmConfiguration, task: object) -> None:
        super().__init__(model, task)
        self.weight, self.temperature = model.knn_weight, model.knn_temperature

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S), nats, at the scored positions; 0 elsewhere."""
        return self.map_neighbors(batch, self._mixed)

    def _mixed(self, neighbors: Neighbors, targets: Tensor) -> Tensor:
        weights = neighbor_weights(neighbors.distances, self.temperature)
        found = knn_target_probability(weights, neighbors.tokens, targets)
        return interpolate(neighbors.target_log_probability, found, self.weight)
