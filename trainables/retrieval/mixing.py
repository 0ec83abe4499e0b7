"""The distribution over tokens that neighbours give, and its mixture with that of a language model.

Khandelwal et al. 2020, 'Generalization through Memorization: Nearest Neighbor Language Models' (arXiv 1911.00172), equations 2
and 3. Distances are squared Euclidean ones, or negative inner products; the smallest is the nearest in either.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_LOG_PROBABILITY = -1e4
"""In place of the logarithm of 0: nats."""


def neighbor_weights(distances: Tensor, temperature: float | Tensor) -> Tensor:
    """(…, k) distances to (…, k) weights ``softmax(-distances / temperature)`` over the k neighbours."""
    return torch.softmax(-distances / temperature, dim=-1)


def knn_target_probability(weights: Tensor, tokens: Tensor, targets: Tensor) -> Tensor:
    """Of (…, k) weights of neighbours and their (…, k) tokens the sum where the token is that of ``targets`` (…): (…)."""
    return torch.where(tokens == targets.unsqueeze(-1), weights, 0).sum(-1)


def knn_distribution(weights: Tensor, tokens: Tensor, vocab_size: int) -> Tensor:
    """(…, V): of each token the sum of the weights (…, k) of the neighbours that have it; ``tokens`` (…, k) int64."""
    empty = torch.zeros((*weights.shape[:-1], vocab_size), dtype=weights.dtype, device=weights.device)
    return empty.scatter_add(-1, tokens, weights)


def interpolate(log_p_lm: Tensor, p_knn: Tensor, weight: float | Tensor) -> Tensor:
    """``log(weight * p_knn + (1 - weight) * p_lm)``, elementwise, from ``log p_lm`` (nats) and ``p_knn`` of the same shape.

    A weight of 0 gives ``log_p_lm`` itself, bit for bit; a weight of 1 ``log p_knn``, which is nowhere below -1e4. It has
    gradients for ``p_knn`` and for a tensor of weights, finite everywhere.
    """
    log_p_knn = _logarithm(p_knn)
    if not isinstance(weight, Tensor):
        if weight <= 0:
            return log_p_lm
        if weight >= 1:
            return log_p_knn
        return torch.logaddexp(log_p_lm + math.log1p(-weight), log_p_knn + math.log(weight))
    inside = (weight > 0) & (weight < 1)
    # Chosen before the logarithms: what is not taken would give its NaN to the gradient all the same.
    within = torch.where(inside, weight, 0.5)
    mixed = torch.logaddexp(log_p_lm + torch.log1p(-within), log_p_knn + torch.log(within))
    return torch.where(inside, mixed, torch.where(weight > 0, log_p_knn, log_p_lm))


def _logarithm(probability: Tensor) -> Tensor:
    tiny = torch.finfo(probability.dtype).tiny
    return torch.where(probability > 0, torch.log(probability.clamp_min(tiny)), LEAST_LOG_PROBABILITY)
