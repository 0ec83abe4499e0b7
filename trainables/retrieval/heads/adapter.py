"""The adapter: a small network that says how much neighbours count at a position, and corrects the weight of each."""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.retrieval.heads.adapter_features import OTHER_FEATURES

_LEAST = -1e4
"""The logarithm of a probability that is zero."""


class FeatureScale(nn.Module):
    """Subtracts means and divides by standard deviations, both of held-out text; leaves features as they are until it is fitted.

    Where distances are hundreds of temperatures and the other features ones, they alone would set the size of a step.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, parts: Iterable[Tensor]) -> None:
        """Takes both from the (n, F) features of all parts; features that never change stay as they are."""
        count, total = 0, torch.zeros_like(self.mean, dtype=torch.float64)
        squares = total.clone()
        for features in parts:
            count += len(features)
            total += features.double().sum(0)
            squares += features.double().square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        constant = deviation <= 1e-6 * (1 + mean.abs())
        self.mean.copy_(mean.masked_fill(constant, 0.0))
        self.deviation.copy_(deviation.masked_fill(constant, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """(…, F) to the same shape."""
        return (features - self.mean) / self.deviation


class Adapter(nn.Module):
    """Features of a position to the logit of the neighbours' share and a correction of each neighbour's score.

    At first the share is ``initial_weight`` everywhere and nothing is corrected.
    """

    def __init__(self, n_neighbors: int, hidden: int, dropout: float, initial_weight: float) -> None:
        super().__init__()
        features = 2 * n_neighbors + OTHER_FEATURES
        self.scale = FeatureScale(features)
        self.hidden = nn.Linear(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, 1 + n_neighbors)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        with torch.no_grad():
            self.output.bias[0] = log(initial_weight) - log(1 - initial_weight)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(…, 2k + 8) to the logit (…) and the corrections (…, k)."""
        output = self.output(self.dropout(torch.relu(self.hidden(self.scale(features)))))
        return output[..., 0], output[..., 1:]


def adapter_parameters(n_neighbors: Any, hidden: Any) -> Any:
    """Parameters of an :class:`Adapter`; arguments may be NumPy arrays."""
    return (2 * n_neighbors + OTHER_FEATURES) * hidden + hidden + (hidden + 1) * (1 + n_neighbors)


def adapter_buffers(n_neighbors: Any) -> Any:
    """Elements of the buffers of an :class:`Adapter`."""
    return 2 * (2 * n_neighbors + OTHER_FEATURES)


def adapter_activations(n_neighbors: Any, hidden: Any, dropout: Any) -> Any:
    """Elements kept of one position for the backward pass; arguments may be NumPy arrays.

    The features, the hidden units, with dropout its mask and its output, the output, the logarithms of the weights before and
    behind the choice of those that match, with the bytes of that choice, and of the mixture six.
    """
    features = 2 * n_neighbors + OTHER_FEATURES
    weights = 3 * n_neighbors + 1 + n_neighbors // 4
    return features + hidden + (dropout > 0) * 2 * hidden + weights + 6


def adapted_log_probability(log_base: Tensor, scores: Tensor, tokens: Tensor, targets: Tensor, logit: Tensor) -> Tensor:
    """(…) log-probability (nats) of the targets (…) under ``(1 - s) p_base + s p_knn`` with ``s = sigmoid(logit)``.

    The neighbours (…, k) weigh ``softmax(scores)``. All is computed from logarithms: gradients stay finite where no neighbour
    has the target and where the share is 0 or 1 in float32.
    """
    matching = scores.log_softmax(-1).masked_fill(tokens != targets.unsqueeze(-1), _LEAST)
    log_knn = matching.logsumexp(-1).clamp(min=_LEAST)
    return torch.logaddexp(log_base + functional.logsigmoid(-logit), log_knn + functional.logsigmoid(logit))
