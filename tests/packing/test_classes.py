"""The shares of a GPU: what fits together for Ray fits together in memory."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.packing.classes import CLASSES, DIVISORS, RAY_UNITS, WHOLE, GpuClass, class_of


@pytest.mark.parametrize("size", CLASSES, ids=str)
def test_as_many_of_a_class_fit_as_it_says(size: GpuClass) -> None:
    units = round(size.fraction * RAY_UNITS)
    assert size.divisor * units <= RAY_UNITS < (size.divisor + 1) * units


@pytest.mark.parametrize("size", CLASSES, ids=str)
def test_ray_cuts_nothing_more_off_a_fraction(size: GpuClass) -> None:
    assert int(size.fraction * RAY_UNITS) == RAY_UNITS // size.divisor


def test_whatever_fits_together_for_ray_fits_together_in_memory() -> None:
    """Every set of shares that Ray lets onto one GPU: their exact sum is at most one GPU."""

    def grow(index: int, units: int, exact: Fraction) -> int:
        assert exact <= 1
        found = 1
        for position in range(index, len(CLASSES)):
            more = RAY_UNITS // CLASSES[position].divisor
            if more <= units:
                found += grow(position, units - more, exact + Fraction(1, CLASSES[position].divisor))
        return found

    assert grow(0, RAY_UNITS, Fraction(0)) > 100


@given(st.floats(0, 1e6), st.floats(1, 1e6))
def test_a_need_gets_the_smallest_class_that_holds_it(need: float, capacity: float) -> None:
    size = class_of(need, capacity)
    assert need <= size.limit_mib(capacity) or size == WHOLE
    smaller = [other for other in CLASSES if other.divisor > size.divisor]
    assert all(need > other.limit_mib(capacity) for other in smaller)


def test_there_are_at_most_eight() -> None:
    assert len({size.fraction for size in CLASSES}) == len(DIVISORS) == 8
