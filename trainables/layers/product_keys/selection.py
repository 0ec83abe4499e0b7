"""The best of all sums of two lists, without making all sums."""

from __future__ import annotations

import torch
from torch import Tensor


def best_sums(first: Tensor, second: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of the n^2 sums ``first_i + second_j``, largest first, and where they are: ``i * n + j``.

    (..., n) and (..., n) to two tensors (..., count). Exact: a sum among the ``count`` largest has both its terms among the
    ``count`` largest of their list, and at ranks whose product is at most ``count``; only such terms are added.

    Raises:
        RuntimeError: ``count`` exceeds n^2.
    """
    size = first.shape[-1]
    kept = min(count, size)
    first_scores, first_places = first.topk(kept)
    second_scores, second_places = second.topk(kept)
    first_ranks, second_ranks = _candidate_ranks(kept, count).to(first.device)
    sums = first_scores.index_select(-1, first_ranks) + second_scores.index_select(-1, second_ranks)
    scores, chosen = sums.topk(count)
    return scores, first_places.gather(-1, first_ranks[chosen]) * size + second_places.gather(-1, second_ranks[chosen])


def _candidate_ranks(kept: int, count: int) -> Tensor:
    """The pairs of ranks, counted from 0, that can be among the best, (2, P): all pairs with no larger ranks are as good."""
    ranks = torch.arange(1, kept + 1)
    return (ranks.unsqueeze(1) * ranks <= count).nonzero().mT
