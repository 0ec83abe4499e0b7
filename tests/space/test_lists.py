"""Fields that are lists: of variable length, nested, chosen whole or computed, evaluated many at once and sampled fairly."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from random_lists import RandomLists, random_lists
from search_space_text import study_space

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study, Told
from orchestrator.space import feasible_search
from orchestrator.space.evaluation import Evaluator
from orchestrator.space.structures import FeasibleStructures, find_feasible
from orchestrator.space.study_space import StudySpace

GROUPS = """
task: {{name: forecasting}}
architectures:
  grouped_vq_mlp: {{dim: {{choice: [10, 20, 40, 80, 160]}}, groups: {groups}}}
constraints: {{params: {{scope: stored, target: 12k, tolerance: 5%}}}}
"""
INDEPENDENT = "{list: {int: [4, 1024], log: true}, length: {choice: [2, 5]}}"


def every_index(space: StudySpace) -> np.ndarray:
    sizes = [searched.dimension.size for searched in space.searched.values()]
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


def resolved(space: StudySpace, found: FeasibleStructures, field: str) -> Counter[str]:
    models = (space.resolve(found.row(index)).model for index in range(len(found)))
    return Counter(json.dumps({"dim": model["dim"], field: model[field]}) for model in models)


def evaluator_of(space: StudySpace) -> Evaluator:
    return Evaluator(space, tuple(searched.dimension for searched in space.searched.values()))


@settings(max_examples=60, deadline=None)
@given(random_lists())
def test_all_configurations_with_lists_are_found_and_no_others(random: RandomLists) -> None:
    space = study_space(random.yaml())
    found = find_feasible(space, over_all=True)
    assert found.exact and found.feasible == len(found)
    assert resolved(space, found, random.field) == Counter(map(json.dumps, random.feasible()))


@settings(max_examples=60, deadline=None)
@given(random_lists())
def test_lists_evaluated_many_at_once_give_what_row_by_row_gives(random: RandomLists) -> None:
    space = study_space(random.yaml())
    indices, evaluator = every_index(space), evaluator_of(space)
    many, rows = evaluator.evaluate(indices), evaluator.evaluate_one_by_one(indices)
    np.testing.assert_array_equal(many.met, rows.met)
    np.testing.assert_array_equal(many.active, rows.active)
    np.testing.assert_array_equal(many.counts[many.met], rows.counts[rows.met])


@settings(max_examples=30, deadline=None)
@given(random_lists())
def test_every_suggestion_of_a_list_is_feasible(random: RandomLists) -> None:
    space = study_space(random.yaml())
    structures = find_feasible(space)
    assume(len(structures))
    feasible = random.feasible()
    study = Study("lists", "tpe", [Branch(space, structures)], 0, ["minimize"])
    for number in range(14):
        suggestion = study.ask()
        assert suggestion is not None
        model = space.resolve(suggestion.drawn).model
        assert {"dim": model["dim"], random.field: model[random.field]} in feasible
        study.tell(number, Told("COMPLETE", (float(model["dim"]),)))


@pytest.mark.parametrize(
    "groups",
    [
        "{list: {choice: [4, 8, 16, 32, 64]}, length: {choice: [1, 2, 5]}}",
        "{list: {choice: [4, 8, 16, 32, 64]}, length: {choice: [1, 2, 5, 10]}, equal: true}",
        "{choice: [[4], [8, 8], [32, 64, 16, 8, 4]]}",
        '[{int: [4, 64]}, "${groups[0] // 4}", "${groups[1] * 2 + 1}", "${groups[2]}", 8]',
    ],
    ids=["variable", "equal", "chosen whole", "computed"],
)
def test_a_list_needs_few_evaluations_of_single_candidates(groups: str) -> None:
    space = study_space(GROUPS.format(groups=groups))
    indices, evaluator = every_index(space), evaluator_of(space)
    evaluator.evaluate(np.tile(indices, (20, 1)))
    assert evaluator.one_by_one <= 8


def ways(lengths: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """For each width and length the number of lists of whole numbers from 4 to 1024 inside the window, by convolution."""
    found = {}
    for dim, length in itertools.product((10, 20, 40, 80, 160), lengths):
        sums = np.array([1], dtype=object)
        for _ in range(length):
            sums = np.convolve(sums.astype(float), np.r_[np.zeros(4), np.ones(1021)])
        fixed, width = 3 * dim + 1 + 2 * dim // length, dim // length
        low, high = -(-(11_400 - fixed) // width), (12_600 - fixed) // width
        found[dim, length] = int(sums[max(0, low) : high + 1].sum())
    return found


def test_the_sample_of_a_huge_space_has_every_feasible_width_and_length() -> None:
    found = find_feasible(study_space(GROUPS.format(groups=INDEPENDENT)))
    exact = ways((2, 5))
    rows = Counter(strata_of(found))
    assert set(rows) == {stratum for stratum, count in exact.items() if count}
    assert all(rows[stratum] >= min(100, exact[stratum]) for stratum in rows)
    assert not found.exact and len(found) <= found.feasible
    assert found.feasible == pytest.approx(sum(exact.values()), rel=0.1)
    assert found.structures == 5 * 1021**2 + 5 * 1021**5
    assert ((found.counts >= 11_400) & (found.counts <= 12_600)).all()


def strata_of(found: FeasibleStructures) -> list[tuple[int, int]]:
    rows = (found.row(index) for index in range(len(found)))
    return [(row["dim"], row["groups.length"]) for row in rows]


def test_a_draw_from_the_sample_is_as_likely_as_a_draw_from_the_prior_that_is_feasible() -> None:
    space = study_space(GROUPS.format(groups=INDEPENDENT).replace("1024", "256").replace("12k", "3k"))
    found = find_feasible(space)
    generator, accepted = np.random.default_rng(1), Counter[Any]()
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    names = list(dimensions)
    drawn = np.stack([dimensions[name].draw(generator, 400_000) for name in names], axis=1)
    seen = evaluator_of(space).evaluate(drawn)
    feasible = seen.met & (np.abs(seen.counts - 3000) <= 150)
    lengths = dimensions["groups.length"].column(drawn[feasible, names.index("groups.length")])
    dims = dimensions["dim"].column(drawn[feasible, names.index("dim")])
    accepted.update(zip(dims.tolist(), lengths.tolist(), strict=True))
    mass = Counter[Any]()
    for stratum, share in zip(strata_of(found), found.mass, strict=True):
        mass[stratum] += share
    total, most = sum(accepted.values()), found.mass.sum()
    for stratum, count in accepted.items():
        assert mass[stratum] / most == pytest.approx(count / total, abs=0.02)


def test_what_random_draws_miss_is_climbed_to() -> None:
    groups = "{list: {int: [1, 4096]}, length: {choice: [1, 8]}}"
    text = GROUPS.format(groups=groups).replace("[10, 20, 40, 80, 160]", "[16, 32]").replace("5%", "0.02%")
    found = find_feasible(study_space(text))
    rows = Counter(strata_of(found))
    assert rows[16, 8] > 20 and rows[32, 8] > 20
    assert all(abs(count - 12_000) <= 2 for count in found.counts)


def test_structures_are_listed_where_they_are_few_however_many_points_their_lists_have_with_what_is_absent() -> None:
    groups = "{list: {choice: [4, 8, 16]}, length: {int: [1, 10]}}"
    space = study_space(GROUPS.format(groups=groups).replace("target: 12k, tolerance: 5%", "min: 2000"))
    found = find_feasible(space)
    assert found.exact and found.structures == 5 * sum(3**length for length in range(1, 11)) < 10**6 < 5 * 10 * 3**10
    assert (found.active | (found.indices == 0)).all() and len(np.unique(found.indices, axis=0)) == len(found)
    feasible = 0
    for dim, length in itertools.product((10, 20, 40, 80, 160), range(1, 11)):
        if dim % length == 0 and dim >= 2 * length:
            stored = (3 * dim + 1 + dim // length * (2 + sum(sizes)) for sizes in itertools.product((4, 8, 16), repeat=length))
            feasible += sum(count >= 2000 for count in stored)
    assert found.feasible == len(found) == feasible > 10_000


def test_the_length_of_an_inner_list_is_searched_only_where_that_list_is() -> None:
    space = study_space(
        "task: {name: forecasting}\narchitectures:\n  grouped_hierarchical_vq_mlp:\n    dim: 8\n"
        "    levels: {list: {list: {choice: [2, 4]}, length: {choice: [1, 2]}}, length: {choice: [1, 2]}}\n"
    )
    found = find_feasible(space, over_all=True)
    inner = 2 + 2**2
    assert found.structures == found.feasible == len(found) == inner + inner**2
    for index in range(len(found)):
        row = found.row(index)
        assert ("levels[1].length" in row) == (row["levels.length"] == 2)


def test_a_computed_length_that_is_none_is_infeasible() -> None:
    space = study_space(
        GROUPS.format(groups='{list: 4, length: "${dim / 40 - 1}"}').replace("target: 12k, tolerance: 5%", "min: 1")
    )
    found = find_feasible(space)
    assert [found.row(index)["dim"] for index in range(len(found))] == [80]


def test_a_long_list_that_must_be_evaluated_one_by_one_is_not_searched_anew_for_each_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Evaluator] = []

    class Counting(Evaluator):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    small = {"_SAMPLED_AT_ONCE": 512, "_ONE_BY_ONE": 1000, "_CLIMBED_ONE_BY_ONE": 2000, "_LOOKED_AT": 64, "Evaluator": Counting}
    for name, value in small.items():
        monkeypatch.setattr(feasible_search, name, value)
    text = GROUPS.format(groups="{list: {int: [4, 64]}, length: {int: [1, 40]}}")
    budget = "params: {scope: stored, target: 12k, tolerance: 5%}"
    assert budget in text
    find_feasible(study_space(text.replace(budget, "require: ['prod(groups) <= 4096']")))
    searched = [evaluator.one_by_one for evaluator in made]
    assert sum(searched) < 6000, "without either limit it is 8369"


def test_a_range_of_any_length_is_searched() -> None:
    text = GROUPS.format(groups="[{int: [1, 1000000000000]}, {int: [1, 1000000000000]}]").replace("target: 12k", "min: 8G")
    found = find_feasible(study_space(text.replace(", tolerance: 5%", "")))
    assert len(found) and (found.indices >= 0).all() and (found.counts >= 8 * 10**9).all()
    assert all(found.space.is_feasible(found.row(index)) for index in range(0, len(found), len(found) // 5 + 1))
