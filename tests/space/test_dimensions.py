"""Dimensions agree with the Optuna distribution that stands for them; the nearest structure is the nearest by brute force."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import optuna
import pytest
from search_space_text import study_space

from orchestrator.space.dimension import ChoiceDimension, Dimension, FloatDimension, IntegerDimension
from orchestrator.space.structures import find_feasible
from orchestrator.space.study_space import plain

FINITE: list[Dimension] = [
    IntegerDimension("a", 3, 9),
    IntegerDimension("b", 8, 99, step=13),
    IntegerDimension("c", 1, 12, log=True),
    FloatDimension("d", 0.0, 1.0, step=0.3),
    ChoiceDimension("e", (4, 1, 2)),
    ChoiceDimension("f", ("none", "rope", "text")),
    ChoiceDimension("g", (True, False)),
    ChoiceDimension("h", ([1, 2], [1], {"a": 1})),
    ChoiceDimension("i", (None, 1.0)),
]


@pytest.mark.parametrize("dimension", FINITE, ids=lambda d: d.name)
def test_the_values_are_those_that_optuna_draws_and_as_often(dimension: Dimension) -> None:
    values = [plain(value) for value in dimension.column(np.arange(dimension.size))]
    assert all(dimension.contains(value) and dimension.value_of(dimension.label(value)) == value for value in values)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    draws = Counter(json.dumps(study.ask({"x": dimension.distribution}).params["x"]) for _ in range(1500))
    shares = dimension.mass(np.arange(dimension.size))
    expected = dict(zip((json.dumps(dimension.label(value)) for value in values), shares, strict=True))
    assert set(draws) <= set(expected) and sum(expected.values()) == pytest.approx(1)
    statistic = sum((draws[label] - 1500 * share) ** 2 / (1500 * share) for label, share in expected.items())
    assert statistic < 2 * dimension.size + 10


@pytest.mark.parametrize(
    "dimension", [*FINITE[:5], FloatDimension("j", 1e-4, 1e-1, log=True), FloatDimension("k", -2.0, 3.0)], ids=lambda d: d.name
)
def test_positions_go_from_0_to_1_in_the_order_of_the_values(dimension: Dimension) -> None:
    indices = np.arange(dimension.lattice_size)
    values, positions = dimension.column(indices), dimension.positions(indices)
    order = np.argsort(values)
    assert (np.diff(positions[order]) > 0).all()
    assert positions.min() == pytest.approx(0) and positions.max() <= 1 + 1e-9
    for index in (0, len(indices) // 2, len(indices) - 1):
        assert dimension.position(plain(values[index])) == pytest.approx(positions[index])


def test_what_lies_outside_is_not_contained() -> None:
    assert not any(IntegerDimension("a", 3, 9, step=2).contains(value) for value in (1, 4, 11, 3.0, "3"))
    assert not ChoiceDimension("b", (1, 2)).contains(True) and not ChoiceDimension("c", (True,)).contains(1)
    assert not FloatDimension("d", 0.5, 1).contains(2.0)


def test_the_nearest_structure_is_the_nearest() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures:\n  gpt:\n"
        "    dim: {int: [16, 128], step: 16}\n    n_layers: {int: [1, 8], log: true}\n"
        "    dk: {int: [4, 64], step: 4}\n    pos: {choice: [none, rope]}\n    use_ffn: {choice: [true, false]}\n"
        '    ffn_expand_factor: {choice: [1, 2, 4], when: "use_ffn"}\n'
        "constraints: {params: {scope: block, target: 98560, tolerance: 2%}}\n"
    )
    found = find_feasible(space)
    rows = [found.row(i) for i in range(len(found))]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(200):
        trial = study.ask({name: part.distribution for name, part in ((n, s.dimension) for n, s in space.searched.items())})
        drawn = {name: space.searched[name].dimension.value_of(value) for name, value in trial.params.items()}
        distances = [distance(space, row, drawn) for row in rows]
        assert distances[found.nearest_row(drawn)] == pytest.approx(min(distances), abs=1e-6)
    assert all(found.nearest_row(row) == index for index, row in enumerate(rows))


def distance(space, row, drawn) -> float:  # type: ignore[no-untyped-def]
    """Squared differences of normalised numbers, 1 for each unequal name, over the dimensions that are active in the row."""
    total = 0.0
    for name, value in row.items():
        dimension = space.searched[name].dimension
        if name in ("pos", "use_ffn"):
            total += value != drawn[name]
        else:
            total += (dimension.position(value) - dimension.position(drawn[name])) ** 2
    return total


def test_structures_are_drawn_with_the_mass_that_the_prior_gives_them() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures:\n  gpt:\n    dim: {choice: [16, 32]}\n    n_layers: {int: [1, 8], log: true}\n"
        '    use_ffn: {choice: [true, false]}\n    ffn_expand_factor: {choice: [1, 2, 4], when: "use_ffn"}\n'
        "constraints: {params: {scope: block, min: 1}, require: ['n_layers * dim <= 64 or use_ffn']}\n"
    )
    found = find_feasible(space)
    prior = []
    for row in (found.row(i) for i in range(len(found))):
        layers = row["n_layers"]
        prior.append(np.log((layers + 0.5) / (layers - 0.5)) / (3 if "ffn_expand_factor" in row else 1))
    expected = 4000 * np.array(prior) / sum(prior)
    generator = np.random.default_rng(0)
    counts = np.bincount([found.draw_row(generator) for _ in range(4000)], minlength=len(found))
    statistic = (np.square(counts - expected) / expected).sum()
    assert statistic < len(found) + 3.5 * np.sqrt(2 * len(found))
