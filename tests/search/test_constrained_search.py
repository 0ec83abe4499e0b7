"""The benchmark's space has the size that it claims, and every suggestion in it meets the budget within bounded time."""

from __future__ import annotations

import math

import pytest

from benchmarks.constrained_search import (
    FEASIBLE,
    STRUCTURES,
    benchmark_space,
    constrained_trials,
    landscape,
    latency,
    quality,
)
from orchestrator.space.structures import find_feasible


def test_the_space_has_122_880_structures_of_which_1_194_meet_the_budget() -> None:
    found = find_feasible(benchmark_space())
    assert (found.structures, found.feasible, found.exact) == (STRUCTURES, FEASIBLE, True) == (122_880, 1_194, True)
    assert len(found) == FEASIBLE and ((found.counts >= 96_589) & (found.counts <= 100_531)).all()


def test_sixty_of_sixty_suggestions_lie_inside_and_come_fast() -> None:
    measured = latency()
    assert measured["inside"] == measured["trials"] == 60
    assert measured["first_s"] <= 5
    assert measured["median_s"] <= 0.05


def test_learning_the_budget_as_a_constraint_finds_few_that_meet_it() -> None:
    space = benchmark_space()
    objective = landscape(find_feasible(space), 0)
    trials = constrained_trials(space, 60, 0, objective.value)
    assert sum(feasible for _, feasible in trials) < 30


def test_the_optimum_of_a_landscape_is_feasible_and_its_value_is_zero() -> None:
    space = benchmark_space()
    found = find_feasible(space)
    for seed in range(5):
        objective = landscape(found, seed)
        assert space.is_feasible(objective.optimum) and objective.value(objective.optimum) == 0
        other = found.row((seed * 37) % len(found)) | {"training.lr": 1e-4}
        assert objective.value(other) > 0


@pytest.mark.long
def test_search_by_construction_comes_nearer_to_the_optimum_than_both_others() -> None:
    regrets = {name: sorted(values)[len(values) // 2] for name, values in quality(find_feasible(benchmark_space()), 10).items()}
    assert math.isfinite(regrets["by construction"])
    assert regrets["by construction"] < min(regrets["set_constraint"], regrets["uniform feasible"])
