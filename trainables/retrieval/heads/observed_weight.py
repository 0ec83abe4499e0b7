"""The share that neighbours get, observed over an evaluation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

OBSERVED = ("knn/weight_mean", "knn/weight_std")
"""What :class:`ObservedWeight` tells."""


class ObservedWeight(nn.Module):
    """Mean and standard deviation of weights over what passes between its beginning and its end; no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self._observing = False
        self._count = self._sum = self._squares = 0.0

    def begin_observation(self) -> None:
        self._observing, self._count, self._sum, self._squares = True, 0.0, 0.0, 0.0

    def end_observation(self) -> dict[str, float]:
        """Both of :data:`OBSERVED`; nothing where no position was seen."""
        self._observing = False
        if not self._count:
            return {}
        mean = self._sum / self._count
        deviation = math.sqrt(max(0.0, self._squares / self._count - mean**2))
        return dict(zip(OBSERVED, (mean, deviation), strict=True))

    def forward(self, weights: Tensor) -> Tensor:
        """``weights`` (P,) of scored positions as they are; noted while it observes."""
        if self._observing:
            noted = weights.detach().to(torch.float64)
            self._count += noted.numel()
            self._sum += noted.sum().item()
            self._squares += noted.square().sum().item()
        return weights
