"""What is known of the distributions of a language model, without keeping them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from trainables.task import TokenModule

_LOGITS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """Of each position; all (P,)."""

    target_log_probability: Tensor
    """float32, nats."""
    largest_log_probability: Tensor
    """float32, nats, of the likeliest token."""
    entropy: Tensor
    """float32, nats."""
    largest_token: Tensor
    """int64, the likeliest token."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def at(self, chosen: slice | Tensor) -> TokenStatistics:
        return TokenStatistics(*(getattr(self, field.name)[chosen] for field in fields(self)))


def token_statistics(base: TokenModule, states: Tensor, targets: Tensor) -> TokenStatistics:
    """Of the softmax of the output head over ``states`` (P, D), for ``targets`` (P,); in pieces, so that few logits exist."""
    if not len(states):
        return _of_logits(states.new_zeros(0, 1), targets)
    rows = max(1, _LOGITS_AT_ONCE // base.output_head(states[:1]).shape[-1])
    parts = zip(torch.split(states, rows), torch.split(targets, rows), strict=True)
    return TokenStatistics.joined([_of_logits(base.output_head(some).float(), expected) for some, expected in parts])


def _of_logits(logits: Tensor, targets: Tensor) -> TokenStatistics:
    total = logits.logsumexp(-1)
    target = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - total
    largest, token = logits.max(-1)
    expected = (logits - total.unsqueeze(-1)).exp().mul_(logits).sum(-1)
    return TokenStatistics(target, largest - total, total - expected, token)
