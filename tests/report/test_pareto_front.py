"""The Pareto front as a law: nothing on it is dominated, and everything off it is dominated by something on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.pareto import non_dominated, pareto_front
from orchestrator.sweep.state import TrialState

Points = list[list[float]]


@st.composite
def points_and_modes(draw: st.DrawFn) -> tuple[Points, list[str]]:
    """Few distinct values, so that equal coordinates and equal points are common."""
    size = draw(st.integers(1, 4))
    value = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6))
    points = draw(st.lists(st.lists(value, min_size=size, max_size=size), max_size=12))
    return points, draw(st.lists(st.sampled_from(["min", "max"]), min_size=size, max_size=size))


def dominates(one: list[float], other: list[float], modes: list[str]) -> bool:
    """By the words of the definition, coordinate by coordinate."""
    better = [a > b if mode == "max" else a < b for a, b, mode in zip(one, other, modes, strict=True)]
    worse = [a < b if mode == "max" else a > b for a, b, mode in zip(one, other, modes, strict=True)]
    return any(better) and not any(worse)


@given(points_and_modes())
def test_a_point_is_on_the_front_exactly_when_none_dominates_it(drawn: tuple[Points, list[str]]) -> None:
    points, modes = drawn
    free = [i for i, point in enumerate(points) if not any(dominates(other, point, modes) for other in points)]
    assert non_dominated(points, modes) == free
    assert bool(free) is bool(points)


@given(points_and_modes())
def test_what_is_off_the_front_is_dominated_by_a_point_on_it(drawn: tuple[Points, list[str]]) -> None:
    points, modes = drawn
    front = non_dominated(points, modes)
    for index, point in enumerate(points):
        assert index in front or any(dominates(points[best], point, modes) for best in front)


@given(points_and_modes(), st.randoms())
def test_the_front_does_not_depend_on_the_order_nor_on_the_sign_convention(
    drawn: tuple[Points, list[str]], random: object
) -> None:
    points, modes = drawn
    front = {tuple(points[index]) for index in non_dominated(points, modes)}
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {tuple(shuffled[index]) for index in non_dominated(shuffled, modes)} == front
    turned = [[-value for value in point] for point in points]
    opposite = ["min" if mode == "max" else "max" for mode in modes]
    assert non_dominated(turned, opposite) == non_dominated(points, modes)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from(["min", "max"]))
def test_the_front_of_one_objective_is_its_best_value(values: list[float], mode: str) -> None:
    best = max(values) if mode == "max" else min(values)
    assert non_dominated([[value] for value in values], [mode]) == [i for i, value in enumerate(values) if value == best]


def test_trials_without_values_are_on_no_front() -> None:
    trials = [TrialState(name, "gpt", 0, "gpt", "gpt", "gpt", {}, {}, name, "mqar") for name in "abc"]
    trials[1].values = [0.0, 9.0]
    assert pareto_front(trials, ["max", "min"]) == [trials[1]]
    assert pareto_front([], ["max", "min"]) == []
