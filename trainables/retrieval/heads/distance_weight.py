"""The share of the neighbours in a mixture as a function of the distance of the nearest one, fitted on held-out text."""

from __future__ import annotations

import abc
from typing import Literal

import torch
from torch import Tensor, nn

from trainables.retrieval.heads.distance_fit import (
    FitPoints,
    bucket_edges,
    bucket_of,
    exponential_weights,
    fit_buckets,
    fit_exponential,
    fit_fixed,
)

AdaptiveMode = Literal["buckets", "exponential", "fixed"]

FITTED = ("adaptive/weight_fixed", "adaptive/weight_smallest", "adaptive/weight_largest", "adaptive/fit_gain")
"""What :meth:`DistanceWeight.fit` tells."""


class DistanceWeight(nn.Module, abc.ABC):
    """Weights from distances. What is fitted is in buffers; before a fit all weights are 0, which gives the base."""

    def forward(self, distance: Tensor) -> Tensor:
        """(…) distances of the nearest neighbour to (…) float32 weights in [0, 0.99]."""
        return self.weights(distance.float()).float()

    def fit(self, points: FitPoints) -> dict[str, float]:
        """Fits the weights to ``points``.

        Returns: the one weight that is best for all positions, the smallest and the largest fitted one at a position, and the
        mean nats a target that fitting gains over the one weight.
        """
        self.fit_buffers(points)
        weights, fixed = self.cpu_weights(points.distance), fit_fixed(points)
        gain = points.loss(fixed) - points.loss(weights)
        return dict(zip(FITTED, (fixed, weights.min().item(), weights.max().item(), gain), strict=True))

    def cpu_weights(self, distance: Tensor) -> Tensor:
        """(n,) float64 weights of distances on the CPU, wherever the buffers are."""
        device = next(self.buffers()).device
        weights: Tensor = self(distance.to(device, torch.float32))
        return weights.to("cpu", torch.float64)

    @abc.abstractmethod
    def weights(self, distance: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def fit_buffers(self, points: FitPoints) -> None: ...


class FixedWeight(DistanceWeight):
    """One weight for all: the best of the grid."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(1))

    def weights(self, distance: Tensor) -> Tensor:
        return self.weight.expand(distance.shape)

    def fit_buffers(self, points: FitPoints) -> None:
        self.weight.fill_(fit_fixed(points))


class ExponentialWeight(DistanceWeight):
    """``largest * exp(-distance * rate)``."""

    largest_and_rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest_and_rate", torch.zeros(2))

    def weights(self, distance: Tensor) -> Tensor:
        return exponential_weights(distance, self.largest_and_rate[0], self.largest_and_rate[1])

    def fit_buffers(self, points: FitPoints) -> None:
        self.largest_and_rate.copy_(torch.tensor(fit_exponential(points)))


class BucketWeights(DistanceWeight):
    """A weight for each of ``buckets`` ranges of distances that are equally full on the text of the fit.

    Drozdov et al. 2022, 'You can't pick your neighbors, or can you?' (arXiv 2210.15859).
    """

    edges: Tensor
    bucket_weight: Tensor

    def __init__(self, buckets: int, min_count: int) -> None:
        super().__init__()
        self.min_count = min_count
        self.register_buffer("edges", torch.zeros(buckets - 1))
        self.register_buffer("bucket_weight", torch.zeros(buckets))

    def weights(self, distance: Tensor) -> Tensor:
        return self.bucket_weight[bucket_of(distance, self.edges)]

    def fit_buffers(self, points: FitPoints) -> None:
        edges = bucket_edges(points.distance, len(self.bucket_weight))
        self.edges.copy_(edges)
        self.bucket_weight.copy_(fit_buckets(points, edges, self.min_count))


def make_distance_weight(mode: AdaptiveMode, buckets: int, min_count: int) -> DistanceWeight:
    """The weights of a mode, not yet fitted."""
    if mode == "buckets":
        return BucketWeights(buckets, min_count)
    return ExponentialWeight() if mode == "exponential" else FixedWeight()


def distance_weight_buffers(mode: AdaptiveMode, buckets: int) -> int:
    """Elements of the buffers of :func:`make_distance_weight`; fields may be NumPy arrays."""
    return (mode == "buckets") * (2 * buckets - 1) + (mode == "exponential") * 2 + (mode == "fixed") * 1
