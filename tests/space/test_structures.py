"""Large and awkward sets of structures: bounded time, honest numbers, feasible suggestions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from search_space_text import specified, study_space

from orchestrator.expression import parse
from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study, Told
from orchestrator.space.distinct import evaluate_distinct
from orchestrator.space.reading.constraints import _budget
from orchestrator.space.sections import ParameterBudgetConfiguration
from orchestrator.space.structures import find_feasible

MILLION = """
task: {{name: mqar}}
architectures:
  gpt:
    n_layers: {{int: [1, 10]}}
    dim: {{int: [1, 100]}}
    n_heads: {{int: [1, 10]}}
    dk: {{int: [2, 20], step: 2}}
    dv: {{int: [1, 10]}}
training: {{lr: {{float: [1e-4, 1e-1], log: true}}, clip_grad: {{choice: [null, 1.0]}}}}
constraints: {{params: {{scope: block, target: 98560, tolerance: 2%}}, require: [{require}]}}
"""
BILLION = MILLION.replace("n_layers: {{int: [1, 10]}}", "n_layers: {{int: [1, 100]}}").replace(
    "dim: {{int: [1, 100]}}", "dim: {{int: [1, 10000]}}"
)
REQUIRE = {
    "nothing": "",
    "divisions by zero": '"n_heads == 1 or dim % (n_heads - 1) == 0"',
    "what NumPy cannot do": '"dim ** 0.5 > 3"',
    "a null among numbers": '"training.clip_grad == null or dim > 5"',
}


@pytest.mark.parametrize("require", REQUIRE.values(), ids=REQUIRE.keys())
@pytest.mark.parametrize(("text", "total"), [(MILLION, 10**6), (BILLION, 10**9)], ids=["a million", "a billion"])
def test_time_is_bounded_and_suggestions_are_feasible(text: str, total: int, require: str) -> None:
    space = study_space(text.format(require=require))
    started = time.process_time()
    found = find_feasible(space)
    study = Study("gpt", "tpe", [Branch(space, found)], 0, ["minimize"])
    for number in range(12):
        suggestion = study.ask()
        assert suggestion is not None and space.is_feasible(suggestion.drawn)
        study.tell(number, Told("COMPLETE", (float(number % 5),)))
    assert time.process_time() - started < 5
    extra = 2 if "clip_grad" in require else 1
    assert found.structures == total * extra
    assert found.exact == (total * extra <= 10**6)
    assert found.feasible >= len(found) > 0 and (found.feasible == len(found) or not found.exact)


def test_the_number_of_feasible_structures_is_estimated_where_there_are_too_many_to_count() -> None:
    text = BILLION.replace("params: {{scope: block, target: 98560, tolerance: 2%}}, ", "").replace(
        "int: [1, 10000]", "int: [1, 10000], log: true"
    )
    found = find_feasible(study_space(text.format(require='"dim % 4 == 0", "n_heads * n_layers * dk * dv > 0"')))
    assert not found.exact and found.structures == 10**9
    assert found.feasible == pytest.approx(10**9 / 4, rel=0.02)


def test_inactive_dimensions_are_not_counted_twice() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures:\n  gpt:\n    use_ffn: {choice: [true, false]}\n"
        '    ffn_expand_factor: {choice: [1, 2, 3], when: "use_ffn"}\n    dim: {choice: [8, 16]}\n'
        "constraints: {params: {scope: block, min: 1}}\n"
    )
    found = find_feasible(space)
    assert found.structures == found.feasible == len(found) == 2 * 3 + 2
    assert sum("ffn_expand_factor" not in found.row(i) for i in range(len(found))) == 2
    assert {space.resolve(found.row(i)).model["ffn_expand_factor"] for i in range(len(found)) if not found.row(i)["use_ffn"]} == {
        4
    }


def test_a_guard_without_a_value_does_not_hold() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures:\n  gpt:\n    n_heads: {int: [1, 3]}\n    dim: 12\n"
        '    ffn_expand_factor: {choice: [1, 2], when: "dim // (n_heads - 1) > 3"}\n    use_ffn: true\n'
        "constraints: {params: {scope: block, min: 1}}\n"
    )
    study = Study("gpt", "random", [Branch(space, find_feasible(space))], 0, ["minimize"])
    seen = {}
    for _ in range(40):
        suggestion = study.ask()
        assert suggestion is not None
        seen.setdefault(suggestion.drawn["n_heads"], set()).add("ffn_expand_factor" in suggestion.drawn)
    assert seen == {1: {False}, 2: {True}, 3: {True}}


def test_a_guard_on_a_derived_value_that_does_not_fit_is_no_crash() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures:\n  gpt:\n    dk: {int: [1, 9]}\n    pos: none\n"
        '    dv: "${dk / 2}"\n    use_ffn: true\n    ffn_expand_factor: {choice: [1, 2], when: "dv > 2"}\n'
    )
    for kind in ("random", "tpe"):
        study = Study("gpt", kind, [Branch(space, find_feasible(space))], 0, ["minimize"])
        for number in range(20):
            suggestion = study.ask()
            assert suggestion is not None and suggestion.drawn["dk"] % 2 == 0
            assert ("ffn_expand_factor" in suggestion.drawn) == (suggestion.drawn["dk"] > 4)
            study.tell(number, Told("COMPLETE", (1.0,)))


def test_a_constraint_on_a_continuum_holds_for_every_draw() -> None:
    space = study_space(
        "task: {name: mqar}\narchitectures: {gpt: {dim: {choice: [16, 64, 128]}}}\n"
        "training: {lr: {float: [1e-4, 1e-1], log: true}}\nconstraints: {require: ['training.lr * dim <= 2e-3']}\n"
    )
    found = find_feasible(space)
    assert not found.exact and {dimension.name for dimension in found.dimensions} == {"dim", "training.lr"}
    study = Study("gpt", "tpe", [Branch(space, found)], 0, ["minimize"])
    for number in range(30):
        suggestion = study.ask()
        assert suggestion is not None and suggestion.drawn["training.lr"] * suggestion.drawn["dim"] <= 2e-3
        study.tell(number, Told("COMPLETE", (-suggestion.drawn["training.lr"],)))
    assert study.number_of_configurations() is None


@pytest.mark.parametrize(("tolerance", "low", "high"), [(0.29, 71, 129), (0.07, 93, 107), (57 * 0.01, 43, 157), (0.0, 100, 100)])
def test_a_window_has_both_its_ends(tolerance: float, low: int, high: int) -> None:
    budget = _budget(ParameterBudgetConfiguration(scope="block", target=100, tolerance=tolerance))
    assert (budget.low, budget.high) == (low, high)
    counts = np.arange(200)
    np.testing.assert_array_equal(counts[budget.holds(counts)], np.arange(low, high + 1))
    np.testing.assert_array_equal(budget.distance(counts), np.maximum(np.maximum(low - counts, counts - high), 0))


def test_distinct_evaluation_equals_row_by_row() -> None:
    generator = np.random.default_rng(0)
    columns = {
        "a": generator.integers(-3, 4, 500),
        "b": generator.integers(-3, 4, 500),
        "c": np.array([None, 2.5], dtype=object)[generator.integers(0, 2, 500)],
    }
    for text in ("a // b", "b ** a", "a == 1 or 6 / b > 2", "c == null or a > 1", "2 ** (a / 2)"):
        values, known, evaluations = evaluate_distinct(parse(text), columns.__getitem__)
        assert evaluations <= 7 * 7
        for row in range(500):
            names = {name: column[row] if name == "c" else int(column[row]) for name, column in columns.items()} | {"null": None}
            try:
                expected = eval(text, {}, names)
            except ZeroDivisionError:
                assert not known[row]
                continue
            assert known[row] and values[row] == expected


def test_cells_of_a_grid_are_spaces_of_their_own() -> None:
    specification = specified(
        "task: {name: mqar, vocab_size: {grid: [256, 512]}}\n"
        "architectures:\n  gpt: {dim: {grid: [16, 32]}, dk: {choice: [4, 8]}}\n  unified_kv: {du: {choice: [4, 8, 16]}}\n"
        "constraints: {params: {scope: total, min: 1}}\n"
    )
    names = [space.name for space in specification.spaces]
    assert len(set(names)) == 6 and names[0] == "gpt.dim-16.vocab_size-256"
    gpt = specification.spaces[0]
    assert gpt.grid == {"dim": 16, "task.vocab_size": 256} and gpt.resolve({"dk": 4}).task["vocab_size"] == 256
    assert find_feasible(gpt).structures == 2


def test_the_name_of_a_cell_is_short_and_its_own_however_long_the_values_of_its_grid() -> None:
    fields = "".join(
        f"    {name}: {{grid: [{value}]}}\n" for name, value in {"init_std": 0.0123456789012345, "rope_theta": 98765.4321}.items()
    )
    fields += "    q_norm: {grid: [none, l2]}\n    k_norm: {grid: [none, l2]}\n    att_use_output_gate: {grid: [true, false]}\n"
    fields += "    att_output_gate_act: {grid: [silu]}\n    ffn_expand_factor: {grid: [12, 123]}\n"
    names = [space.name for space in specified(f"task: {{name: mqar}}\narchitectures:\n  gpt:\n{fields}").spaces]
    assert len(set(names)) == len(names) == 16 and all(len(name) < 140 for name in names)
