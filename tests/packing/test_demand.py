"""How many runs fit at once, against the best packing, and what is asked of a cluster."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.packing.classes import CLASSES, GpuClass
from orchestrator.packing.demand import Demand, Placement, demand_of, in_turn

FORTY_EIGHTHS = {size: 48 // size.divisor for size in CLASSES}
WHOLE, HALF, THIRD, QUARTER = CLASSES[:4]


def next_above(size: GpuClass) -> GpuClass:
    return CLASSES[max(0, CLASSES.index(size) - 1)]


@cache
def fewest_gpus(parts: tuple[int, ...]) -> int:
    """The least number of GPUs that hold all ``parts``, in 48ths and falling; by trying everything."""
    best = len(parts)

    def put(index: int, free: tuple[int, ...]) -> None:
        nonlocal best
        if len(free) >= best:
            return
        if index == len(parts):
            best = len(free)
            return
        for room in {room for room in free if room >= parts[index]}:
            at = free.index(room)
            put(index + 1, tuple(sorted((*free[:at], room - parts[index], *free[at + 1 :]))))
        put(index + 1, tuple(sorted((*free, 48 - parts[index]))))

    put(0, ())
    return best


def best_of(sizes: Sequence[GpuClass]) -> int:
    return fewest_gpus(tuple(sorted((FORTY_EIGHTHS[size] for size in sizes), reverse=True)))


def ours(sizes: Sequence[GpuClass]) -> int:
    return demand_of(sizes, len(sizes)).gpus


def test_every_short_list_takes_no_more_gpus_than_the_best_packing_of_runs_one_class_larger() -> None:
    """All lists of up to five runs, in every order in which they may come."""
    for count in range(1, 6):
        for sizes in itertools.product(CLASSES, repeat=count):
            assert ours(sizes) <= best_of([next_above(size) for size in sizes]), sizes


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(CLASSES), min_size=6, max_size=9))
def test_so_do_longer_lists(sizes: list[GpuClass]) -> None:
    assert best_of(sizes) <= ours(sizes) <= best_of([next_above(size) for size in sizes])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=9), st.integers(1, 3))
def test_the_width_is_within_one_class_of_the_best_packing(sizes: list[GpuClass], gpus: int) -> None:
    """Of runs that come in an order, as many are in flight as of runs one class larger the best packing could hold."""
    width = demand_of(sizes, len(sizes), gpus).at_once
    larger = [next_above(size) for size in sizes]
    best = max(count for count in range(len(sizes) + 1) if best_of(larger[:count]) <= gpus)
    assert width >= best


@given(st.lists(st.sampled_from(CLASSES), max_size=60), st.integers(1, 4))
def test_no_gpu_is_given_more_than_it_has(sizes: list[GpuClass], gpus: int) -> None:
    placement = Placement(gpus)
    placed = [size for size in sizes if placement.place(size)]
    assert placement.used <= gpus
    assert sum(FORTY_EIGHTHS[size] for size in placed) <= 48 * gpus


def test_shares_go_onto_the_fullest_gpu_that_has_room() -> None:
    placement = Placement(2)
    assert [placement.place(size) for size in (HALF, QUARTER, HALF, QUARTER, HALF)] == [True] * 5
    assert not placement.place(CLASSES[-1])


def test_demand_is_written_by_class() -> None:
    demand = demand_of([QUARTER, HALF, QUARTER, THIRD], 4)
    assert demand == Demand({HALF: 1, THIRD: 1, QUARTER: 2}, 2)
    assert list(demand.bundles) == [HALF, THIRD, QUARTER]
    assert demand.describe(2) == "1 x {CPU: 2, GPU: 0.5}, 1 x {CPU: 2, GPU: 0.3333}, 2 x {CPU: 2, GPU: 0.25}"
    assert demand.at_once == 4


@pytest.mark.parametrize(("most", "gpus", "at_once"), [(5, None, 5), (99, 1, 4), (3, 1, 3), (99, 2, 8)])
def test_it_ends_with_the_slots_or_the_gpus(most: int, gpus: int | None, at_once: int) -> None:
    assert demand_of(in_turn([[QUARTER], [QUARTER, QUARTER]]), most, gpus).at_once == at_once


def test_entries_take_turns() -> None:
    assert list(itertools.islice(in_turn([[HALF, THIRD], [], [WHOLE]]), 5)) == [HALF, WHOLE, THIRD, WHOLE, HALF]
    assert list(in_turn([[], []])) == []
