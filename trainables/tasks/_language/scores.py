"""Figures of how well text is predicted."""

from __future__ import annotations

import math

_LARGEST_EXPONENT = 700.0
"""exp of more overflows."""


def perplexity(nats: float, count: int) -> float:
    """exp of the mean loss over ``count`` tokens or words; of a loss above 700 nats that of 700."""
    return math.exp(min(nats / count, _LARGEST_EXPONENT))


def bits_per_byte(nats: float, size: int) -> float:
    """Bits that encode the targets, for each of the ``size`` bytes that their text has; boundary tokens have no bytes."""
    return nats / math.log(2) / size
