"""Laws over random search spaces, each held against an independent brute force (see ``random_spaces``)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_spaces import RandomSpace, feasible_by_brute_force, random_spaces
from search_space_text import specified

from orchestrator.search.study import Told
from orchestrator.space.evaluation import Evaluator
from orchestrator.space.structures import find_feasible
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.studies import make_studies


def as_set(assignments: Any) -> set[frozenset[tuple[str, Any]]]:
    return {frozenset(drawn.items()) for drawn in assignments}


def space_of(random: RandomSpace) -> StudySpace:
    (space,) = specified(random.yaml()).spaces
    return space


@settings(max_examples=40, deadline=None)
@given(random_spaces(searches_lr=False))
def test_all_configurations_are_found_and_no_others(random: RandomSpace) -> None:
    found = find_feasible(space_of(random), over_all=True)
    assert found.exact and found.structures == len(random.every_drawn())
    assert found.feasible == len(found)
    assert as_set(found.row(i) for i in range(len(found))) == as_set(feasible_by_brute_force(random))


@settings(max_examples=40, deadline=None)
@given(random_spaces(searches_lr=False))
def test_structures_are_the_feasible_configurations_seen_along_the_structural_dimensions(random: RandomSpace) -> None:
    found = find_feasible(space_of(random))
    structural = {dimension.name for dimension in found.dimensions}
    projected = [
        {name: value for name, value in drawn.items() if name in structural} for drawn in feasible_by_brute_force(random)
    ]
    assert as_set(found.row(i) for i in range(len(found))) == as_set(projected)


@settings(max_examples=40, deadline=None)
@given(random_spaces(searches_lr=False))
def test_evaluating_many_at_once_gives_what_row_by_row_gives(random: RandomSpace) -> None:
    space = space_of(random)
    dimensions = find_feasible(space, over_all=True).dimensions
    sizes = [dimension.size for dimension in dimensions]
    indices = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    evaluator = Evaluator(space, dimensions)
    many, rows = evaluator.evaluate(indices), evaluator.evaluate_one_by_one(indices)
    np.testing.assert_array_equal(many.met, rows.met)
    np.testing.assert_array_equal(many.active, rows.active)
    np.testing.assert_array_equal(many.counts[many.met], rows.counts[rows.met])


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["tpe", "random", "grid"]), st.integers(0, 5))
def test_every_suggestion_is_feasible(data: st.DataObject, sampler: str, seed: int) -> None:
    random = data.draw(random_spaces(sampler=sampler, searches_lr=None if sampler != "grid" else False))
    specification = specified(random.yaml().replace("sampler:", f"seed: {seed}, sampler:"))
    (study,) = make_studies(specification).values()
    assume(len(study.branches[0].structures))
    for number in range(16):
        suggestion = study.ask()
        if suggestion is None:
            assert sampler == "grid" and number == study.number_of_configurations()
            break
        drawn = dict(suggestion.drawn)
        assert random.is_feasible(drawn), drawn
        assert 1e-4 <= drawn.get("training.lr", 1e-4) <= 1e-1
        resolved = study.branches[0].space.resolve(drawn)
        assert {name: resolved.model[name] for name in random.model_values(drawn)} == random.model_values(drawn)
        if number % 4 != 3:
            study.tell(number, Told("COMPLETE", (float(random.model_values(drawn)["dim"]),)))


@settings(max_examples=40, deadline=None)
@given(random_spaces(with_window=False, searches_lr=False), st.integers(0, 40_000))
def test_where_nothing_meets_the_budget_the_nearest_structures_are_named(random: RandomSpace, target: int) -> None:
    counts = {random.block_parameters(drawn) for drawn in random.every_drawn() if random.meets_rules(drawn)}
    assume(counts and target not in counts)
    random = dataclasses.replace(random, window=(target, target))
    found = find_feasible(space_of(random))
    structural = {dimension.name for dimension in found.dimensions}
    distances = {}
    for drawn in random.every_drawn():
        if random.meets_rules(drawn):
            key = frozenset((name, value) for name, value in drawn.items() if name in structural)
            distances[key] = abs(random.block_parameters(drawn) - target)
    assert len(found) == 0 == found.feasible
    assert [abs(near.count - target) for near in found.nearest] == sorted(distances.values())[:3]
    for near in found.nearest:
        # A nearest structure names its inactive dimensions too, by their first value.
        assert any(
            key <= frozenset(near.drawn.items()) and distance == abs(near.count - target) for key, distance in distances.items()
        )
