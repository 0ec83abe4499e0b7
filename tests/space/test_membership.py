"""Old configurations read back through a space: laws over random spaces, and each kind of value by example."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_spaces import VOCABULARY, Drawn, RandomSpace, feasible_by_brute_force, random_spaces
from search_space_text import specified, study_space

from orchestrator.document import Diagnostics, Source, read_document
from orchestrator.space.assignment import Field, Infeasible
from orchestrator.space.dimension import ChoiceDimension, FloatDimension
from orchestrator.space.membership import Outside, draws_of, find_drawn, find_home
from orchestrator.space.reading import read_search_space
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.value import ValueReader
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.studies import make_studies
from trainables.configuration import Hyperparameter

EXTRA_CHOICES: Mapping[str, tuple[Any, ...]] = {"n_layers": (3, 4), "n_heads": (4, 5), "ffn_expand_factor": (4, 5)}
CHANGED_CONSTANTS = [
    (f"vocab_size: {VOCABULARY}", "vocab_size: 131", f"task.vocab_size is {VOCABULARY} there and 131 here"),
    ("training: {", "training: {weight_decay: 0.5, ", "training.weight_decay is 0.1 there and 0.5 here"),
    ("training: {", "training: {clip_grad: 2, ", "training.clip_grad is 1 there and 2 here"),
]
SHIPPED = Path(__file__).parents[2] / "search_spaces"


def recorded(space: StudySpace, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the record gives it back."""
    loaded: dict[str, Any] = json.loads(json.dumps(asdict(space.resolve(drawn))))
    return loaded


def space_of(random: RandomSpace) -> StudySpace:
    return study_space(random.yaml())


def some_feasible(data: st.DataObject, random: RandomSpace) -> list[Drawn]:
    """Every feasible assignment, each with a learning rate where that is searched."""
    lr = st.floats(1e-4, 1e-1)
    found = [drawn | ({"training.lr": data.draw(lr)} if random.searches_lr else {}) for drawn in feasible_by_brute_force(random)]
    found = [drawn for drawn in found if random.is_feasible(drawn)]
    assume(found)
    return found


# Laws.


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_was_drawn_is_read_back_from_what_it_resolved_to(data: st.DataObject) -> None:
    random = data.draw(random_spaces())
    space = space_of(random)
    for drawn in some_feasible(data, random):
        found = find_drawn(space, recorded(space, drawn))
        assert found == drawn
        assert {name: type(value) for name, value in drawn.items()} == {n: type(v) for n, v in dict(found).items()}  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(random_spaces(searches_lr=False))
def test_what_is_not_feasible_lies_outside_and_has_a_reason(random: RandomSpace) -> None:
    space = space_of(random)
    for drawn in random.every_drawn():
        if random.is_feasible(drawn):
            continue
        try:
            configuration = recorded(space, drawn)
        except Infeasible:
            continue
        found = find_drawn(space, configuration)
        assert isinstance(found, Outside) and found.reason


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_wider_space_keeps_every_trial(data: st.DataObject) -> None:
    random = data.draw(random_spaces())
    old = space_of(random)
    written = {name: widened(data, random, name) for name in random.dimensions}
    text = replace(random, written=written).yaml().replace("[1e-4, 1e-1]", "[1e-5, 1]")
    new = study_space(text)
    for drawn in some_feasible(data, random):
        configuration = recorded(old, drawn)
        found = find_drawn(new, configuration)
        assert not isinstance(found, Outside), found
        assert recorded(new, found) == configuration and list(found) == [name for name in new.searched if name in drawn]
        assert found == drawn and new.is_feasible(found)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_narrower_space_keeps_what_lies_inside_and_nothing_else(data: st.DataObject) -> None:
    random = data.draw(random_spaces())
    old = space_of(random)
    kept = {name: narrowed(data, values) for name, values in random.dimensions.items()}
    written = {name: as_choice(values, random.guards.get(name)) for name, values in kept.items()}
    new = study_space(replace(random, written=written).yaml())
    for drawn in some_feasible(data, random):
        inside = all(value in kept[name] for name, value in drawn.items() if name in kept)
        found = find_drawn(new, recorded(old, drawn))
        assert isinstance(found, Outside) is not inside
        if isinstance(found, Outside):
            assert any(f"{name} " in found.reason for name, value in drawn.items() if value not in kept.get(name, [value]))
        else:
            assert recorded(new, found) == recorded(old, drawn)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_changed_constant_excludes_every_trial(data: st.DataObject) -> None:
    random = data.draw(random_spaces())
    old = space_of(random)
    old_text, new_text, reason = data.draw(st.sampled_from(CHANGED_CONSTANTS))
    new = study_space(random.yaml().replace(old_text, new_text))
    for drawn in some_feasible(data, random):
        assert find_drawn(new, recorded(old, drawn)) == Outside(reason)


@settings(max_examples=200, deadline=None)
@given(st.integers(-50, 50), st.sampled_from([0.1, 0.3, 0.05, 1.5]), st.integers(1, 40), st.data())
def test_a_ladder_of_reals_stays_inside_longer_ladders_and_ranges(
    first: int, step: float, size: int, data: st.DataObject
) -> None:
    def rung(index: int) -> float:
        """As a person writes it: 0.3, not 3 * 0.1."""
        return round(index * step, 6)

    below, above = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    low, high = rung(first), rung(first + size - 1)
    old = FloatDimension("x", low, high, step=step)
    longer = FloatDimension("x", rung(first - below), rung(first + size - 1 + above), step=step)
    continuum = FloatDimension("x", low, high)
    value = float(old.column(np.array([data.draw(st.integers(0, size - 1))]))[0])
    for dimension in (old, longer, continuum):
        drawn = dimension.drawn_for(value)
        assert drawn is not None and drawn == pytest.approx(value, rel=1e-12, abs=1e-12)
        assert dimension.distribution._contains(drawn)
    assert not old.contains(value + step / 2) and not continuum.contains(low - step / 2)


def widened(data: st.DataObject, random: RandomSpace, name: str) -> str:
    """The dimension with whole steps at both ends, or with further choices at any place, or as a range over the choices."""
    values, text = random.dimensions[name], random.written[name]
    guard = f", when: {json.dumps(random.guards[name])}}}" if name in random.guards else "}"
    if not text.startswith("{choice"):
        step = values[1] - values[0] if len(values) > 1 else 1
        below = data.draw(st.integers(0, (values[0] - 1) // step))
        low, high = values[0] - below * step, values[-1] + data.draw(st.integers(0, 3)) * step
        step = 1 if data.draw(st.booleans()) else step
        return f"{{int: [{low}, {high}], step: {step}{guard}"
    if name in EXTRA_CHOICES and data.draw(st.booleans()):
        return f"{{int: [1, {max(values) + 1}]{guard}"
    extra = EXTRA_CHOICES.get(name, {"pos": ("none", "rope"), "use_ffn": (True, False)}.get(name, ()))
    choices = data.draw(st.permutations([*values, *(value for value in extra if value not in values)]))
    return f"{{choice: {json.dumps(choices)}{guard}"


def narrowed(data: st.DataObject, values: tuple[Any, ...]) -> list[Any]:
    return data.draw(st.lists(st.sampled_from(values), min_size=1, unique=True))


def as_choice(values: list[Any], guard: str | None) -> str:
    """A choice; of one value a constant, where no ``when`` stands beside it."""
    if guard is None and len(values) == 1:
        return json.dumps(values[0])
    return f"{{choice: {json.dumps(values)}{f', when: {json.dumps(guard)}' if guard else ''}}}"


def test_suggestions_of_every_shipped_search_space_are_read_back() -> None:
    for path in sorted(SHIPPED.glob("*.yaml")):
        specification = read_search_space(path)
        study = next(iter(make_studies(specification).values()))
        suggestions = [study.ask() for _ in range(3)]
        for suggestion in filter(None, suggestions):
            space = suggestion.branch.space
            home = find_home(specification.spaces, space.entry, space.architecture.name, recorded(space, suggestion.drawn))
            assert home == (space, dict(suggestion.drawn))


# Kinds of values, which no field of today's architectures has in full.


def sized(text: str) -> StudySpace:
    """A space with one more field, ``sizes``, a list that is written as ``text``."""
    base = study_space("task: {name: mqar}\narchitectures: {gpt: {n_heads: {choice: [1, 2]}}}\n")
    wanted = Hyperparameter(name="sizes", type=list[float | list[float]], default=[1.0], meaning="")
    diagnostics = Diagnostics("sizes")
    value = ValueReader(Context(Source("sizes", text), diagnostics), wanted).read(node_of(text, diagnostics), "sizes", "sizes")
    assert value is not None, diagnostics.found
    return replace(base, fields={**base.fields, "sizes": Field("sizes", wanted, value, written=True)})


def node_of(text: str, diagnostics: Diagnostics) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sizes.yaml"
        path.write_text(f"sizes: {text}\n")
        root = read_document(path, diagnostics).root
    assert root is not None
    return root.get("sizes")


def with_sizes(space: StudySpace, sizes: Any) -> dict[str, Any]:
    plain = study_space("task: {name: mqar}\narchitectures: {gpt: {n_heads: {choice: [1, 2]}}}\n")
    configuration = recorded(plain, {"n_heads": 2})
    configuration["model"]["sizes"] = sizes
    return configuration


SIZES = "{list: {int: [4, 64], step: 4}, length: {int: [1, 3]}}"
CASES: list[tuple[str, Any, Any]] = [
    (SIZES, [4, 8], {"sizes.length": 2, "sizes[0]": 4, "sizes[1]": 8}),
    (SIZES, [4, 8, 64], {"sizes.length": 3, "sizes[0]": 4, "sizes[1]": 8, "sizes[2]": 64}),
    (SIZES, [4, 8, 12, 16], "the length of sizes = 4 lies outside int [1, 3]"),
    (SIZES, [4, 6], "sizes[1] = 6 lies outside int [4, 64] step 4"),
    (SIZES, 4, "sizes = 4 lies outside list of int [4, 64] step 4, length int [1, 3]"),
    ("{list: {float: [0, 1]}, length: 2}", [0, 1], {"sizes[0]": 0.0, "sizes[1]": 1.0}),
    ("{list: {float: [0, 1]}, length: 2}", [0], "the length of sizes is 1 there and 2 here"),
    ('{list: {int: [1, 9]}, length: "${n_heads}"}', [1, 9], {"sizes[0]": 1, "sizes[1]": 9}),
    ('{list: {int: [1, 9]}, length: "${n_heads}"}', [1], "the length of sizes is 1 there and 2 = n_heads here"),
    ("{list: {int: [1, 9]}, length: {int: [1, 3]}, equal: true}", [7, 7, 7], {"sizes.length": 3, "sizes[*]": 7}),
    (
        "{list: {int: [1, 9]}, length: {int: [1, 3]}, equal: true}",
        [7, 8],
        "the items of sizes are all equal here and [7, 8] there",
    ),
    ("{list: 5, length: {choice: [1, 3]}}", [5, 5, 5], {"sizes.length": 3}),
    ('[{choice: [1, 2]}, 3, "${2 * n_heads}"]', [2, 3, 4], {"sizes[0]": 2}),
    ('[{choice: [1, 2]}, 3, "${2 * n_heads}"]', [2, 3, 5], "sizes[2] is 5 there and 4 = 2 * n_heads here"),
    ("[{choice: [1, 2]}, 3]", [2, 3, 4], "sizes has 3 items there and 2 here"),
    ("{choice: [[1, 2], [1]]}", [1], {"sizes": [1.0]}),
    ("{choice: [[1, 2], [1]]}", [1, 3], "sizes = [1, 3] lies outside choice [[1, 2], [1]]"),
    ('{choice: [[1, 2], [1]], when: "n_heads > 1"}', [1, 2], {"sizes": [1.0, 2.0]}),
    ('{choice: [[1, 2], [3]], when: "n_heads > 2"}', [1], {}),
    ('{choice: [[1, 2], [3]], when: "n_heads > 2"}', [3], "sizes is [3] there and [1], where it is not searched here"),
    ('"${[n_heads, 1 / 0]}"', [1], "`[n_heads, 1 / 0]` has no value here: division by zero"),
]


@pytest.mark.parametrize(("text", "sizes", "expected"), CASES, ids=lambda case: str(case)[:40])
def test_lists_choices_and_expressions_are_read_back(text: str, sizes: Any, expected: Any) -> None:
    space = sized(text)
    found = find_drawn(space, with_sizes(space, sizes))
    if isinstance(expected, str):
        assert found == Outside(expected)
    else:
        assert found == {"n_heads": 2} | expected


def test_a_field_that_the_record_does_not_know_has_its_default() -> None:
    space = study_space("task: {name: mqar}\narchitectures: {gpt: {dk: {int: [4, 64], step: 4}}}\n")
    configuration = recorded(space, {"dk": 8})
    del configuration["model"]["residual_mul"], configuration["training"]["beta1"], configuration["model"]["dk"]
    assert find_drawn(space, configuration) == {"dk": 48}
    changed = study_space("task: {name: mqar}\narchitectures: {gpt: {residual_mul: true}}\n")
    assert find_drawn(changed, configuration) == Outside("residual_mul is false there and true here")


def test_a_field_that_is_gone_excludes_its_trials() -> None:
    space = study_space("task: {name: mqar}\narchitectures: {gpt: {}}\n")
    configuration = recorded(space, {})
    configuration["model"]["memory"] = "long term"
    assert find_drawn(space, configuration) == Outside('there is no field memory here, and it is "long term" there')


def test_numbers_are_equal_by_value_and_truth_values_equal_no_number() -> None:
    space = study_space("task: {name: mqar}\narchitectures: {gpt: {}}\ntraining: {weight_decay: {choice: [0, 1]}, epochs: 3}\n")
    configuration = recorded(space, {"training.weight_decay": 1.0})
    configuration["training"] |= {"weight_decay": 1, "epochs": 3.0}
    found = find_drawn(space, configuration)
    assert found == {"training.weight_decay": 1.0} and type(dict(found)["training.weight_decay"]) is float  # type: ignore[arg-type]
    configuration["training"]["weight_decay"] = True
    assert find_drawn(space, configuration) == Outside("training.weight_decay = true lies outside choice [0, 1]")


def test_of_equal_choices_the_one_written_alike_is_drawn_else_the_first() -> None:
    choices = ChoiceDimension("x", (True, 1, 1.0, [1.0], [1], None))
    for value in choices.choices:
        (drawn,) = draws_of(choices, value)
        assert json.dumps(drawn) == json.dumps(value)
    assert json.dumps(draws_of(ChoiceDimension("x", ([2], [1], [1.0])), [1.00])) == "[[1.0]]"
    assert json.dumps(draws_of(ChoiceDimension("x", ({"a": 1, "b": 2},)), {"b": 2.0, "a": 1})) == '[{"a": 1, "b": 2}]'
    assert draws_of(ChoiceDimension("x", (1, 0)), True) == [] == draws_of(ChoiceDimension("x", ("1",)), 1)


BUDGET = """
task: {{name: mqar}}
architectures: {{gpt: {{dim: 64, n_layers: 4, dk: {{int: [8, 96], step: 4}}, dv: {{int: [8, 96], step: 4}}}}}}
constraints: {{params: {{scope: block, target: 98560, tolerance: {tolerance}}}, require: ["{require}"]}}
"""


def test_a_trial_outside_the_budget_or_against_a_requirement_is_told_so() -> None:
    wide = study_space(BUDGET.format(tolerance="10%", require="dk > 4"))
    configuration = recorded(wide, {"dk": 52, "dv": 52})
    assert find_drawn(wide, configuration) == {"dk": 52, "dv": 52}
    narrow = study_space(BUDGET.format(tolerance="2%", require="dk > 4"))
    counts = wide.architecture.count(SimpleNamespace(**configuration["model"]), SimpleNamespace(**configuration["task"]))
    assert find_drawn(narrow, configuration) == Outside(f"block parameters {counts.block:,} outside 98,560 ± 2%")
    required = study_space(BUDGET.format(tolerance="10%", require="dk < dv"))
    assert find_drawn(required, configuration) == Outside("does not meet `require: dk < dv`")


GRID = """
task: {{name: mqar, vocab_size: {{grid: {grid}}}}}
architectures:
  small: {{architecture: gpt, dim: {{choice: [16, 32]}}}}
  large: {{architecture: unified_kv, dim: {{choice: {dims}}}}}
"""


def test_the_home_of_a_trial_is_the_first_cell_that_contains_it() -> None:
    old = specified(GRID.format(grid="[256, 512]", dims="[64, 96]"))
    new = specified(GRID.format(grid="[1024, 512]", dims="[96]"))
    by_name = {space.name: space for space in old.spaces}

    def home(cell: str, dim: int, entry: str | None = None, architecture: str | None = None) -> Any:
        space = by_name[cell]
        configuration = recorded(space, {"dim": dim})
        return find_home(new.spaces, entry or space.entry, architecture or space.architecture.name, configuration)

    assert home("small.vocab_size-512", 32) == (new.spaces[1], {"dim": 32})
    assert home("large.vocab_size-512", 96) == (new.spaces[3], {"dim": 96})
    assert home("large.vocab_size-512", 64) == Outside("dim = 64 lies outside choice [96]")
    assert home("small.vocab_size-256", 32) == Outside("task.vocab_size = 256 lies outside grid [1024, 512]")
    assert home("small.vocab_size-512", 32, entry="lstm") == Outside("there is no entry lstm here")
    assert home("small.vocab_size-512", 32, architecture="lstm") == Outside("the entry small is lstm there and gpt here")


def test_thousands_of_trials_find_their_home_in_seconds() -> None:
    specification = read_search_space(SHIPPED / "mqar_parameter_matched.yaml")
    space = next(space for space in specification.spaces if space.entry == "gpt")
    drawn = {"n_layers": 4, "n_heads": 2, "dk": 48, "dv": 48}
    cells = [replace(space, constraints=space.constraints, name=f"cell {index}") for index in range(3)]
    configurations = [recorded(space, drawn | {"training.lr": 1e-4 * (1 + number / 100)}) for number in range(2000)]
    started = time.process_time()
    for configuration in configurations:
        for cell in cells:
            assert not isinstance(find_drawn(cell, configuration), Outside)
    assert time.process_time() - started < 30
