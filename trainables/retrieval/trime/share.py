"""The share of the probability that a memory gives, observed over an evaluation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MemoryShare(nn.Module):
    """Mean and standard deviation over the scored positions between the observation's beginning and end; no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.observing = False
        self._moments = torch.zeros(3, dtype=torch.float64)

    def begin_observation(self) -> None:
        self.observing, self._moments = True, torch.zeros(3, dtype=torch.float64)

    def end_observation(self) -> dict[str, float]:
        """``gate/mean`` and ``gate/std``; nothing where no position was scored."""
        self.observing = False
        count, total, squares = self._moments.tolist()
        if not count:
            return {}
        mean = total / count
        return {"gate/mean": mean, "gate/std": math.sqrt(max(0.0, squares / count - mean**2))}

    def note(self, share: Tensor, scored: Tensor) -> None:
        """``share`` (…), 0 to 1, where ``scored`` (…) is true."""
        noted = share.detach()[scored].to(torch.float64)
        self._moments += torch.stack((torch.ones_like(noted).sum(), noted.sum(), noted.square().sum())).cpu()
