"""Fits of the share that neighbours get as a function of how near the nearest one is; on the CPU in float64, so repeatable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from trainables.retrieval.mixing import interpolate

WEIGHTS: tuple[float, ...] = tuple(step / 100 for step in range(100))
"""The weights that are tried: 0 to 0.99 by 0.01."""

_COARSE_WEIGHTS = (*WEIGHTS[5::5], WEIGHTS[-1])
_REFINEMENTS = 6


@dataclass(frozen=True, slots=True)
class FitPoints:
    """The scored positions that weights are fitted on; all tensors are (n,) float64 on the CPU."""

    log_base: Tensor
    """Log-probability (nats) of the target under the base."""
    p_knn: Tensor
    """Probability of the target under the neighbours."""
    distance: Tensor
    """Distance of the nearest neighbour."""

    @classmethod
    def of(cls, log_base: Tensor, p_knn: Tensor, distance: Tensor) -> FitPoints:
        return cls(*(part.detach().to("cpu", torch.float64) for part in (log_base, p_knn, distance)))

    @classmethod
    def joined(cls, parts: Sequence[FitPoints]) -> FitPoints:
        names = ("log_base", "p_knn", "distance")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def losses(self, weight: Tensor | float) -> Tensor:
        """(n,) nats of each target under the mixture with ``weight``, a number or (n,)."""
        return -interpolate(self.log_base, self.p_knn, weight)

    def loss(self, weight: Tensor | float) -> float:
        """Mean nats of a target."""
        return self.losses(weight).mean().item()


def bucket_edges(distance: Tensor, buckets: int) -> Tensor:
    """(buckets - 1,) float32 ascending inner edges that divide the (n,) distances into buckets of equal population.

    Where the number of buckets doubles, the edges stay and others come between. Equal distances are never divided, so a bucket
    may be empty.
    """
    shares = np.arange(1, buckets) / buckets
    return torch.from_numpy(np.quantile(distance.double().cpu().numpy(), shares).astype(np.float32))


def bucket_of(distance: Tensor, edges: Tensor) -> Tensor:
    """(…) int64 bucket of each distance (…): a bucket holds its lower edge, the last one its upper edge and all beyond too."""
    return torch.bucketize(distance.float().contiguous(), edges, right=True)


def fit_fixed(points: FitPoints) -> float:
    """The one weight of :data:`WEIGHTS` with the smallest loss; of equals the smallest weight."""
    return WEIGHTS[int(_grid_losses(points, torch.zeros_like(points.distance, dtype=torch.int64), 1).argmin())]


def fit_buckets(points: FitPoints, edges: Tensor, min_count: int) -> Tensor:
    """(len(edges) + 1,) float64: of each bucket the weight of :data:`WEIGHTS` with the smallest loss in it.

    Buckets of fewer than ``min_count`` positions, and empty ones, take the one weight that is best for all.
    """
    bucket, buckets = bucket_of(points.distance, edges), len(edges) + 1
    best = torch.tensor(WEIGHTS, dtype=torch.float64)[_grid_losses(points, bucket, buckets).argmin(0)]
    too_few = torch.bincount(bucket, minlength=buckets) < max(1, min_count)
    return torch.where(too_few, torch.tensor(fit_fixed(points), dtype=torch.float64), best)


def _grid_losses(points: FitPoints, bucket: Tensor, buckets: int) -> Tensor:
    """(len(WEIGHTS), buckets) nats of all targets of a bucket."""
    return torch.stack([torch.bincount(bucket, points.losses(weight), minlength=buckets) for weight in WEIGHTS])


def exponential_weights(distance: Tensor, largest: Tensor | float, rate: Tensor | float) -> Tensor:
    """``largest * exp(-distance * rate)``, the weight (…) at distances (…)."""
    return largest * torch.exp(-distance * rate)


def fit_exponential(points: FitPoints) -> tuple[float, float]:
    """(largest weight, rate) of :func:`exponential_weights` with the smallest loss that a grid and its refinements find.

    The rate is the reciprocal of the distance over which the weight falls to 1/e. Rate 0, one weight for all distances, is
    among what is tried with every weight of :data:`WEIGHTS`, so the fit is never worse than :func:`fit_fixed`.
    """
    positive = points.distance[points.distance > 0]
    scale = positive.median().item() if len(positive) else 1.0
    rates = [2.0 ** (half / 2) / scale for half in range(-12, 15)]
    best = _best_of(points, (fit_fixed(points), 0.0), product(_COARSE_WEIGHTS, rates))
    for refinement in range(_REFINEMENTS):
        step, factor = 0.025 / 2**refinement, 2.0 ** (0.25 / 2**refinement)
        largest = (max(0.0, best[0] - step), best[0], min(WEIGHTS[-1], best[0] + step))
        best = _best_of(points, best, product(largest, (best[1] / factor, best[1], best[1] * factor)))
    return best


def _best_of(points: FitPoints, first: tuple[float, float], others: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Of equals the earlier one."""
    return min((first, *others), key=lambda candidate: points.loss(exponential_weights(points.distance, *candidate)))
