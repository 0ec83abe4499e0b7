"""What the adapter sees of a position: its neighbours' distances, how their tokens agree, and how sure both models are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

OTHER_FEATURES = 8
"""Features that do not depend on the number of neighbours."""

_LEAST_DISTANCE = 1e-6
"""Added to both distances of a ratio, or an exact match would make it infinite."""


@dataclass(frozen=True, slots=True)
class ValueGroups:
    """The neighbours of positions (…), grouped by token: slot g of (…, k) is the g-th distinct token in ascending order."""

    share: Tensor
    """(…, k) sum of the neighbours' weights, 0 in unused slots."""
    count: Tensor
    """(…, k) number of neighbours, 0 in unused slots."""
    token: Tensor
    """(…, k) int64 token; -1 in unused slots."""
    first: Tensor
    """(…, k) bool over the neighbours in their own order: whether a token is seen for the first time."""


def group_values(weights: Tensor, tokens: Tensor) -> ValueGroups:
    """Groups ``tokens`` (…, k) int64 with their ``weights`` (…, k), without a table over the vocabulary."""
    ordered, order = torch.sort(tokens, dim=-1, stable=True)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    group = begins.cumsum(-1) - 1
    zeros = torch.zeros_like(weights)
    return ValueGroups(
        share=zeros.scatter_add(-1, group, weights.gather(-1, order)),
        count=zeros.scatter_add(-1, group, torch.ones_like(weights)),
        token=torch.full_like(tokens, -1).scatter(-1, group, ordered),
        first=torch.zeros_like(begins).scatter(-1, order, begins),
    )


def adapter_features(
    distances: Tensor, tokens: Tensor, largest_log_probability: Tensor, entropy: Tensor, largest_token: Tensor, temperature: float
) -> Tensor:
    """(…, 2k + 8) float32 features of positions (…).

    For ``distances`` (…, k) ascending and ``tokens`` (…, k) of the neighbours, and of the base its largest log-probability, its
    entropy (nats) and its likeliest token, each (…): the k values ``-distance / temperature``; the k numbers of distinct tokens
    among the first 1 … k neighbours; the largest probability and the entropy of the base, then of the neighbours; whether the
    likeliest tokens of both agree; the logarithm of the ratio of the last distance to the first; the share of the neighbours
    that have the neighbours' likeliest token; and 1.
    """
    scores = -distances.float() / temperature
    groups = group_values(scores.softmax(-1), tokens)
    best_share, best = groups.share.max(-1)
    ratio = (distances[..., -1] + _LEAST_DISTANCE).log() - (distances[..., 0] + _LEAST_DISTANCE).log()
    others = [
        largest_log_probability.exp(),
        entropy,
        best_share,
        -torch.xlogy(groups.share, groups.share).sum(-1),
        groups.token.gather(-1, best.unsqueeze(-1)).squeeze(-1) == largest_token,
        ratio,
        groups.count.gather(-1, best.unsqueeze(-1)).squeeze(-1) / tokens.shape[-1],
        torch.ones_like(best_share),
    ]
    return torch.cat([scores, groups.first.cumsum(-1).float(), torch.stack([other.float() for other in others], -1)], -1)
