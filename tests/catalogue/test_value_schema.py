"""Schemas of values against the code that reads values: equal on plain values, on dimensions the schema is no stricter."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator.catalogue.definitions import Definitions
from orchestrator.catalogue.listing import bounds
from orchestrator.catalogue.value_schema import plain_schema, value_schema
from orchestrator.document import Diagnostics, Source, parse_value
from orchestrator.space.reading.context import Context, quantity
from orchestrator.space.reading.value import ValueReader
from trainables.configuration import Hyperparameter, convert, describe_type

TYPES = [
    *(int, float, bool, str, dict[str, Any], Literal["none", "rope"], list[int], list[float], list[list[int]]),
    *(int | None, float | Literal["auto"], list[int] | None, int | list[int], list[str]),
]
LIMITS = [{}, {"minimum": 1}, {"above": 0.0}, {"minimum": 0, "maximum": 8}, {"above": -1, "maximum": 0.5}]

fields = st.builds(
    lambda wanted, limits: Hyperparameter(name="x", type=wanted, default=None, meaning="", **limits),
    st.sampled_from(TYPES),
    st.sampled_from(LIMITS),
)
numbers = st.integers(-3, 12) | st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 8.0, 8.5])
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["none", "rope", "auto", "", "4M", "2%", "${2 * y}"])
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_leaves=6
)


def ranges(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    options = {"step": numbers, "log": st.booleans(), "when": st.sampled_from(["y > 1", "true", 1])}
    ends = st.lists(numbers, min_size=2, max_size=2).map(sorted)
    return st.fixed_dictionaries({kind: ends}, optional=options)


def dimensions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    options = st.fixed_dictionaries({"choice": st.lists(inner, max_size=3)}, optional={"when": st.just("y > 1")})
    repeated = st.fixed_dictionaries({"list": inner, "length": inner}, optional={"equal": st.booleans()})
    return ranges("int") | ranges("float") | options | st.fixed_dictionaries({"grid": st.lists(inner, max_size=3)}) | repeated


written_values = st.recursive(plain_values, lambda inner: dimensions(inner) | st.lists(inner, max_size=3), max_leaves=4)


def converts(field: Hyperparameter, value: Any) -> bool:
    try:
        return field.problem_with(convert(value, field.type)) is None
    except ValueError:
        return False


SCALARS = [None, True, "none", "auto", "4M", *range(-2, 3), 8, 9, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 8.0, 8.5, {}, []]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("wanted", TYPES, ids=describe_type)
def test_the_schema_of_scalars_agrees_with_their_conversion(wanted, limits):
    field = Hyperparameter(name="x", type=wanted, default=None, meaning="", **limits)
    validator = Draft202012Validator(plain_schema(wanted, bounds(field)))
    for value in [*SCALARS, *([scalar] for scalar in SCALARS)]:
        assert validator.is_valid(value) == converts(field, value), value


@settings(max_examples=200, deadline=None)
@given(fields, plain_values)
def test_the_schema_of_plain_values_agrees_with_their_conversion(field, value):
    valid = Draft202012Validator(plain_schema(field.type, bounds(field))).is_valid(value)
    assert valid == converts(field, value)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([int, float, int | None, float | Literal["auto"]]),
    st.from_regex(r"[0-9]{1,2}(\.[0-9])?[kMGBX%]?", fullmatch=True),
)
def test_text_that_the_reader_takes_for_a_number_is_valid_in_a_section(wanted, text):
    field = Hyperparameter(name="x", type=wanted, default=None, meaning="")
    value = quantity(text)
    if isinstance(value, (int, float)) and converts(field, value) and not (text.endswith("%") and float(value).is_integer()):
        assert Draft202012Validator(plain_schema(wanted, {}, quantities=True)).is_valid(text)
    if not isinstance(value, (int, float)):
        assert not Draft202012Validator(plain_schema(wanted, {}, quantities=True)).is_valid(text)


def read(field: Hyperparameter, value: Any) -> bool:
    """Whether the reader of search spaces takes ``value`` for ``field``."""
    source = Source("test", json.dumps(value))
    diagnostics = Diagnostics("test")
    node = parse_value(source, diagnostics)
    assert node is not None
    ValueReader(Context(source, diagnostics), field).read(node, "x", "x")
    return diagnostics.ok


def valid(field: Hyperparameter, value: Any) -> bool:
    definitions = Definitions()
    schema = value_schema(definitions, field)
    return Draft202012Validator({**schema, "$defs": definitions.collected()}).is_valid(value)


@settings(max_examples=400, deadline=None)
@given(fields, written_values)
def test_the_schema_takes_every_value_that_the_reader_takes(field, value):
    assert valid(field, value) or not read(field, value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([int, float, int | None]), st.sampled_from(LIMITS), ranges("int") | ranges("float"))
def test_the_schema_takes_every_range_that_the_reader_takes(wanted, limits, value):
    field = Hyperparameter(name="x", type=wanted, default=None, meaning="", **limits)
    assert valid(field, value) or not read(field, value)


def test_the_grammar_of_a_list_field():
    field = Hyperparameter(name="levels", type=list[int], default=[8], meaning="", minimum=1)
    repeated = {"list": {"int": [4, 64], "log": True}, "length": {"choice": [2, 5]}, "equal": True}
    for accepted in ([8, 4], repeated, [{"int": [32, 1024]}, "${levels[0] // 4}"], {"choice": [[1, 2], [3]]}, "${[1, 2]}"):
        assert valid(field, accepted), accepted
        assert read(field, accepted), accepted
    for refused in (8, [0], [[8]], {"list": 8}, {**repeated, "length": 0}, {"int": [1, 2]}, [{"grid": [1, 2]}], {"choice": [1]}):
        assert not valid(field, refused), refused
        assert not read(field, refused), refused
