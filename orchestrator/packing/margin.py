"""How much is added to an expectation so that few runs need more: much at first, less as measurements come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from orchestrator.packing.correction import Line, Pair

FIRST_MARGIN = {"traced": 0.2, "arithmetic": 0.5}
"""Added to an expectation that no measurement has touched, by how it was made."""
LEAST_MARGIN, MOST_MARGIN = 0.02, 1.0
HALVED_BY = 8
"""After so many measurements of its group half of the first margin is left, after twice as many a third."""
QUANTILE = 0.95
"""Of all that was too little for a run so far, margins cover so much. The rest runs out of memory and is begun once more."""
_ENOUGH = 8
"""Measurements of a group from which on its own errors say more than those of all runs."""

Measured = tuple[Line, Sequence[Pair]]
"""Pairs of predicted and measured MiB, and the line that was fitted to them."""


def margin_of(expected_mib: float, how: str, own: Measured, of_its_kind: Iterable[Measured]) -> float:
    """The share to be added to ``expected_mib``.

    Args:
        expected_mib: of the run.
        how: its peak was predicted.
        own: what runs of its group have measured.
        of_its_kind: the same of all groups whose peaks were predicted so.
    """
    line, pairs = own
    like_it = sum(line.at(predicted) >= expected_mib / 2 for predicted, _ in pairs)  # small runs say little of large ones
    first = FIRST_MARGIN[how] * HALVED_BY / (HALVED_BY + like_it)
    shares = _too_little(own) if len(pairs) >= _ENOUGH else [share for one in of_its_kind for share in _too_little(one)]
    return min(MOST_MARGIN, max(LEAST_MARGIN, first, high_quantile(shares)))


def high_quantile(shares: Sequence[float]) -> float:
    """What one more of the same kind exceeds in no more than 1 - :data:`QUANTILE` of all cases; of few the largest, 0 of none."""
    if not shares:
        return 0.0
    rank = min(len(shares), math.ceil(QUANTILE * (len(shares) + 1)))
    return sorted(shares)[rank - 1]


def _too_little(measured: Measured) -> list[float]:
    """By which shares of their expectation runs took more; 0 where they did not."""
    line, pairs = measured
    return [max(0.0, taken / line.at(predicted) - 1) for predicted, taken in pairs]
