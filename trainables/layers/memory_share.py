"""The share of a mixture that a memory gets, watched over a pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MemoryShare(nn.Module):
    """Hands shares through; between ``begin_observation`` and ``end_observation`` it gathers their mean and deviation."""

    def __init__(self) -> None:
        super().__init__()
        self._moments: Tensor | None = None

    def forward(self, share: Tensor) -> Tensor:
        """Shares in [0, 1] of any shape, each counted once, as they are."""
        if self._moments is not None:
            seen = share.detach().double()
            self._moments += torch.stack((torch.ones_like(seen).sum(), seen.sum(), seen.square().sum())).to(self._moments.device)
        return share

    def begin_observation(self) -> None:
        self._moments = torch.zeros(3, dtype=torch.float64)

    def end_observation(self) -> dict[str, float]:
        """``gate/mean`` and ``gate/std`` over all shares since the beginning, nothing where there were none."""
        moments, self._moments = self._moments, None
        count, total, squares = (0.0, 0.0, 0.0) if moments is None else moments.tolist()
        if not count:
            return {}
        mean = total / count
        return {"gate/mean": mean, "gate/std": max(0.0, squares / count - mean**2) ** 0.5}
