"""A line from predicted to measured memory, fitted so that single wrong figures hardly matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISE_MIB, NOISE_SHARE = 8.0, 0.02
"""What two runs of one configuration may differ in: some segments of the allocator, and a share of the whole. Deviations beyond
it pull by their sign alone, as in a median."""
CONSTANT_DEVIATION_MIB = 200.0
"""How far the constant part may well lie from what was expected: contexts take from 200 to 900 MiB, by driver and GPU."""
_ROUNDS = 60
_CLOSE_MIB, _CLOSE = 0.01, 1e-5
_SMALLEST_FACTOR = 0.1

Figures = NDArray[np.float64]
Pair = tuple[float, float]
"""Predicted and measured MiB of one run."""


@dataclass(frozen=True, slots=True)
class Line:
    """``constant_mib + factor * predicted_mib``."""

    constant_mib: float
    factor: float

    def at(self, predicted_mib: float) -> float:
        return self.constant_mib + self.factor * predicted_mib


def fit_line(pairs: Iterable[Pair], prior: Line, factor_deviation: float) -> Line:
    """The line through pairs of predicted and measured MiB that is nearest in the sense of Huber (1964, "Robust estimation of a
    location parameter"), with a quadratic pull towards ``prior``.

    The prior also counts as one pair in their middle: one measurement against it proves little, two that agree outvote it. The
    sum to be minimised is strictly convex, so that the order of the pairs does not matter.

    Args:
        pairs: finite and not negative.
        prior: the line without measurements.
        factor_deviation: how far the factor may well lie from that of ``prior``.
    """
    points = np.array(sorted(pairs), dtype=np.float64).reshape(-1, 2)
    if not len(points):
        return prior
    middle = float(np.median(points[:, 0]))
    points = np.vstack([points, (middle, prior.at(middle))])
    constant, factor = _minimum(points[:, 0], points[:, 1], prior, factor_deviation)
    return Line(max(0.0, constant), max(_SMALLEST_FACTOR, factor))


def _minimum(predicted: Figures, measured: Figures, prior: Line, factor_deviation: float) -> tuple[float, float]:
    """By least squares with weights that follow from the last round's deviations; two equations, solved by hand."""
    noise = NOISE_MIB + NOISE_SHARE * (prior.constant_mib + prior.factor * predicted)
    first, second, wanted = 1 / noise, predicted / noise, measured / noise
    pull, factor_pull = CONSTANT_DEVIATION_MIB**-2, factor_deviation**-2
    constant, factor = prior.constant_mib, prior.factor
    for _ in range(_ROUNDS):
        weight = 1 / np.maximum(1.0, np.abs(wanted - constant * first - factor * second))
        weighted = weight * first
        aa, ab, ay = weighted @ first + pull, weighted @ second, weighted @ wanted + pull * prior.constant_mib
        weighted = weight * second
        bb, by = weighted @ second + factor_pull, weighted @ wanted + factor_pull * prior.factor
        determinant = aa * bb - ab * ab
        before = constant, factor
        constant, factor = float((ay * bb - by * ab) / determinant), float((by * aa - ay * ab) / determinant)
        if abs(constant - before[0]) < _CLOSE_MIB and abs(factor - before[1]) < _CLOSE:
            break
    return constant, factor
