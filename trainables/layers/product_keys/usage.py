"""How evenly the slots of a memory are used."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class SlotUsage:
    """Adds up the weights with which each slot is read (Lample et al. 2019, section 4.5)."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._weights: Tensor | None = None

    def add(self, slots: Tensor, weights: Tensor) -> None:
        """Slots that were read, int64, and their weights, of one shape."""
        if self._weights is None:
            self._weights = torch.zeros(self._slots, dtype=torch.float64, device=slots.device)
        self._weights.index_add_(0, slots.flatten(), weights.detach().flatten().double())

    def figures(self) -> dict[str, float]:
        """The share of slots that were read at all, and the divergence KL(reading || uniform) in nats: 0 where all slots have
        the same part, log(slots) where one has everything. Nothing where nothing was read."""
        if self._weights is None:
            return {}
        shares = self._weights / self._weights.sum()
        entropy = torch.special.entr(shares).sum().item()
        return {"slots/usage": (shares > 0).double().mean().item(), "slots/kl": max(0.0, math.log(self._slots) - entropy)}
