"""Stopping rules on given curves, replayed epoch by epoch in several orders of arrival."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.space.sections import SchedulerConfiguration
from orchestrator.stopping import Population, StoppingRule, stopping_rule
from orchestrator.stopping.rules import AsynchronousSuccessiveHalving, MedianStopping, NeverStop

# Validation accuracy by epoch, in the shape that associative recall has: chance for long, then a sudden rise at some rates.
CURVES = {
    "lr0.0100": [0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02],
    "lr0.0056": [0.03, 0.09, 0.14, 0.16, 0.18, 0.19, 0.21, 0.24, 0.33, 0.61, 0.93, 0.99],
    "lr0.0031": [0.03, 0.07, 0.13, 0.15, 0.17, 0.22, 0.41, 0.87, 0.98, 0.99, 0.99, 0.99],
    "lr0.0018": [0.02, 0.04, 0.09, 0.13, 0.15, 0.17, 0.18, 0.22, 0.29, 0.45, 0.78, 0.97],
    "lr0.0010": [0.02, 0.03, 0.05, 0.09, 0.12, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.21],
    "lr0.0006": [0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.11, 0.12, 0.13, 0.14, 0.14, 0.15],
    "lr0.0003": [0.01, 0.01, 0.02, 0.03, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.09],
    "lr0.0001": [0.01, 0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.03, 0.03, 0.03, 0.03],
}
Curves = dict[str, list[float]]


def replayed(rule: StoppingRule, curves: Curves, order: Iterable[tuple[str, int]], mode: str = "max") -> dict[str, int]:
    """The epoch at which each member was stopped; members that reach their budget are left out."""
    population, stopped = Population(mode), {}
    for member, epoch in order:
        if member in stopped:
            continue
        value = curves[member][epoch - 1]
        population.add(member, epoch, value)
        before = {peer: dict(population.curve(peer)) for peer in population.members}
        decision = rule.decide(population, member, epoch, value)
        assert decision == rule.decide(population, member, epoch, value)
        assert {peer: dict(population.curve(peer)) for peer in population.members} == before
        if decision == "stop":
            stopped[member] = epoch
    return stopped


def in_step(curves: Curves) -> list[tuple[str, int]]:
    return [(member, epoch) for epoch in range(1, 13) for member in curves]


def one_after_another(curves: Curves) -> list[tuple[str, int]]:
    return [(member, epoch) for member in curves for epoch in range(1, len(curves[member]) + 1)]


ASHA = AsynchronousSuccessiveHalving(grace_period=2, reduction_factor=2)


def test_never_stops() -> None:
    assert replayed(NeverStop(), CURVES, in_step(CURVES)) == {}


def test_asha_stops_at_its_rungs_alone() -> None:
    stopped = replayed(ASHA, CURVES, in_step(CURVES))
    assert set(stopped.values()) <= {2, 4, 8}
    assert "lr0.0031" not in stopped and "lr0.0100" not in replayed(
        ASHA, {"lr0.0100": CURVES["lr0.0100"]}, one_after_another(CURVES)[:12]
    )


def test_asha_by_hand() -> None:
    """Reduction factor 2: of n that came to a rung, those go on that are no worse than the ceil(n / 2)-th best."""
    curves = {"a": [0.5] * 4, "b": [0.4] * 4, "c": [0.6] * 4, "d": [0.7] * 4}
    order = [(member, epoch) for epoch in (1, 2) for member in "abcd"] + [
        (member, epoch) for epoch in (3, 4) for member in "abcd"
    ]
    # At epoch 2: a alone; b is the worse of two; c is the best of three; d the best of four.
    # At epoch 4: a is alone again; c beats a; d is the best of three.
    assert replayed(ASHA, curves, order) == {"b": 2}
    # In the order of merit the first of each pair stays: d alone, c second of two, a third of three.
    merit = [(member, 2) for member in "dcab"]
    assert replayed(ASHA, curves, merit) == {"c": 2, "a": 2, "b": 2}


def test_asha_sends_the_first_and_the_best_on_in_any_order() -> None:
    for shift in range(len(CURVES)):
        members = list(CURVES)[shift:] + list(CURVES)[:shift]
        stopped = replayed(ASHA, CURVES, one_after_another({member: CURVES[member] for member in members}))
        best_at_every_rung = {max(CURVES, key=lambda m, e=epoch: CURVES[m][e - 1]) for epoch in (2, 4, 8)}
        assert members[0] not in stopped
        if len(best_at_every_rung) == 1:
            assert best_at_every_rung.isdisjoint(stopped)


def test_asha_keeps_ties_together() -> None:
    curves = {name: [0.5] * 12 for name in "abcdef"}
    assert replayed(ASHA, curves, in_step(curves)) == {}


def test_asha_with_the_last_member_decides_by_the_rank_among_all() -> None:
    """Whoever comes last to a rung meets the whole population: there the order of the others does not matter."""
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.7}
    for others in (("a", "b", "c"), ("c", "b", "a"), ("b", "a", "c")):
        curves = {member: [0.0, value] for member, value in values.items()}
        stopped = replayed(ASHA, curves, [(member, 2) for member in (*others, "d")])
        assert "d" not in stopped
        curves["d"] = [0.0, 0.3]
        assert "d" in replayed(ASHA, curves, [(member, 2) for member in (*others, "d")])


def test_asha_counts_a_report_that_skips_a_rung_there() -> None:
    """A run that reports every third epoch meets the rung of epoch 2 at epoch 3, and no rung twice."""
    population = Population("max")
    for member, value in (("a", 0.9), ("b", 0.1)):
        population.add(member, 3, value)
    assert ASHA.decide(population, "b", 3, 0.1) == "stop"
    population.add("a", 6, 0.9)
    population.add("b", 6, 0.1)
    assert ASHA.decide(population, "b", 6, 0.1) == "stop"
    population.add("b", 7, 0.1)
    assert ASHA.decide(population, "b", 7, 0.1) == "continue"


def test_asha_brackets_rank_their_own_members_and_start_later() -> None:
    rule = replace(ASHA, brackets=2)
    curves = {"a": [0.9] * 8, "b": [0.1] * 8, "c": [0.5] * 8, "d": [0.2] * 8}
    stopped = replayed(rule, curves, [(member, epoch) for epoch in range(1, 9) for member in curves])
    # a and c meet at 2, 4, 8; b and d at 4 and 8: b, the worst of all, was first at each rung of its bracket, and d beats it.
    assert stopped == {"c": 2}


def test_asha_with_a_fractional_reduction_factor_has_rungs_at_whole_epochs() -> None:
    rule = AsynchronousSuccessiveHalving(grace_period=1, reduction_factor=1.5)
    curves = {"a": [0.9] * 12, **{f"w{i}": [0.1 - i / 100] * 12 for i in range(4)}}
    assert set(replayed(rule, curves, in_step(curves)).values()) <= {1, 2, 3, 4, 6, 8, 12}


def test_median_waits_for_samples_and_for_the_grace_period() -> None:
    rule = MedianStopping(grace_period=4, min_samples=3)
    stopped = replayed(rule, CURVES, one_after_another(CURVES))
    first_three = list(CURVES)[:3]
    assert stopped and not set(first_three) & set(stopped) and min(stopped.values()) >= 4
    assert stopped["lr0.0001"] == 4 and "lr0.0031" not in stopped


def test_median_by_hand() -> None:
    """A run's best so far against the median of the others' running averages at the same epoch."""
    rule = MedianStopping(grace_period=1, min_samples=3)
    population = Population("max")
    for member, curve in {"a": [0.2, 0.4], "b": [0.4, 0.6], "c": [0.6, 0.8]}.items():
        for epoch, value in enumerate(curve, 1):
            population.add(member, epoch, value)
    for values, expected in (((0.5, 0.1), "continue"), ((0.1, 0.49), "stop"), ((0.1, 0.51), "continue")):
        one = Population("max")
        one._curves = {member: dict(curve) for member, curve in population._curves.items()}
        for epoch, value in enumerate(values, 1):
            one.add("d", epoch, value)
        assert rule.decide(one, "d", 2, values[-1]) == expected


values = st.floats(0, 1).map(lambda value: round(value, 3))
RULES = [ASHA, replace(ASHA, brackets=2, reduction_factor=3), MedianStopping(2, 2), NeverStop()]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(values, min_size=8, max_size=8), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from(RULES),
)
def test_maximising_and_minimising_are_mirror_images(rows: list[list[float]], random: object, rule: StoppingRule) -> None:
    curves = {f"m{i}": row for i, row in enumerate(rows)}
    order = shuffled(curves, random)
    mirrored = {member: [-value for value in curve] for member, curve in curves.items()}
    assert replayed(rule, curves, order, "max") == replayed(rule, mirrored, order, "min")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(values, min_size=8, max_size=8), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_asha_never_stops_who_leads_its_population(rows: list[list[float]], random: object) -> None:
    """Whoever is best of all at every epoch reaches its budget, whenever it comes; so does at least one member at all."""
    curves = {f"m{i}": row for i, row in enumerate(rows)} | {"leader": [1.5] * 8}
    stopped = replayed(ASHA, curves, shuffled(curves, random))
    assert "leader" not in stopped


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=2, max_size=8), st.integers(2, 4), st.permutations(range(8)))
def test_asha_at_one_rung_stops_at_most_all_but_the_best_share(finals: list[float], factor: int, order: list[int]) -> None:
    """In whatever order they come, those whose value is within the best ceil(n / factor) of all go on."""
    rule = AsynchronousSuccessiveHalving(grace_period=1, reduction_factor=factor)
    curves = {f"m{i}": [value] for i, value in enumerate(finals)}
    arrivals = [(f"m{i}", 1) for i in order if i < len(finals)]
    stopped = replayed(rule, curves, arrivals)
    threshold = sorted(finals, reverse=True)[math.ceil(len(finals) / factor) - 1]
    # Among fewer peers a rank is no worse, but the share is smaller: only the very best is safe in every order.
    best = max(finals)
    assert all(finals[int(member[1:])] < best for member in stopped)
    last = arrivals[-1][0]
    assert (last in stopped) == (finals[int(last[1:])] < threshold)


def shuffled(curves: Curves, random: object) -> list[tuple[str, int]]:
    """Epochs of each member in order, members interleaved at random."""
    waiting = {member: list(range(1, len(curve) + 1)) for member, curve in curves.items()}
    order = []
    while waiting:
        member = random.choice(sorted(waiting))  # type: ignore[attr-defined]
        order.append((member, waiting[member].pop(0)))
        waiting = {name: epochs for name, epochs in waiting.items() if epochs}
    return order


@pytest.mark.parametrize("name", ["none", "asha", "median"])
def test_a_section_names_its_rule(name: str) -> None:
    options = SchedulerConfiguration(name=name, grace_period=5, reduction_factor=4, brackets=2, min_samples=6)  # type: ignore[arg-type]
    expected = {"none": NeverStop(), "asha": AsynchronousSuccessiveHalving(5, 4, 2), "median": MedianStopping(5, 6)}
    assert stopping_rule(options) == expected[name]
