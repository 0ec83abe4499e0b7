"""Values of expressions: Python's for one candidate, and the same for columns of candidates."""

import operator
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.expression import ExpressionError, NotVectorisable, evaluate, evaluate_each, parse

VALUES: dict[str, Any] = {
    **{"dk": 12, "dim": 64, "lr": 0.25, "flag": True, "mode": "buckets", "levels": [64, 32, 8], "nothing": None},
    **{"empty": [], "zero": 0, "big": 2**62, "task.vocab_size": 2048, "training.epochs": 3, "backbone": {"config": 1}},
}


def value(text: str, lookup: Callable[[str], Any] = VALUES.__getitem__) -> Any:
    return evaluate(parse(text), lookup)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("dk + 1", 13), ("dk - 20", -8), ("dk * lr", 3.0), ("dk / 8", 1.5), ("2 ** 10", 1024), ("2 ** -1", 0.5)],
        *[("-7 // 2", -4), ("-7 % 3", 2), ("7 // -2", -4), ("7 % -3", -2), ("7.5 // 2", 3.0), ("-2 ** 2", -4)],
        *[("flag * dk", 12), ("flag + flag", 2), ("-flag", -1), ("+dk", 12)],
        *[("dk < dim", True), ("1 < dk < 10", False), ("1 < dk <= 12 != 13", True), ("dk == 12.0", True), ("flag == 1", True)],
        *[("mode == 'buckets'", True), ("mode == 3", False), ("mode < 'c'", True), ("nothing == null", True)],
        *[("dk in [1, 12]", True), ("dk not in levels", True), ("8 in levels", True), ("mode in ['a', 'b']", False)],
        *[("dk and 0", False), ("dk or zero", True), ("not empty", True), ("not mode", False), ("null or ''", False)],
        *[("zero != 0 and 1 / zero > 2", False), ("true or 1 / zero", True), ("2 < 1 < 1 / zero", False)],
        *[("levels[0]", 64), ("levels[-1] // 4", 2), ("[1, [2, 3]][1][0]", 2), ("levels == [64, 32, 8]", True)],
        *[("levels == (64, 32)", False), ("levels != [64, 32, 9]", True), ("backbone == null", False), ("[1] == 1", False)],
        *[("len(levels)", 3), ("len(mode)", 7), ("sum(levels)", 104), ("prod(levels)", 16384), ("sum(empty)", 0)],
        *[("prod([])", 1), ("min(levels)", 8), ("max(dk, dim)", 64), ("min(1, 2.5)", 1.0), ("max(flag, false)", 1)],
        *[("abs(-3)", 3), ("round(2.5)", 2), ("round(3.5)", 4), ("round(2.675, 2)", 2.67), ("round(1234, -2)", 1200)],
        *[("floor(-1.5)", -2), ("ceil(-1.5)", -1), ("ceil(dk / 8)", 2), ("log2(task.vocab_size)", 11.0)],
        *[("task.vocab_size // training.epochs", 682), ("[dk, dk * 2]", [12, 24]), ("'a'", "a"), ("null", None)],
    ],
)
def test_single_values_follow_python(text: str, expected: object) -> None:
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("1 + mode", 0, "a number is needed here, found the text 'buckets'"),
        ("dk * (dim + nothing)", 6, "a number is needed here, found null"),
        ("levels + levels", 0, "a number is needed here, found a list"),
        ("mode * 2", 0, "a number is needed here, found the text 'buckets'"),
        ("backbone * 2", 0, "a number is needed here, found a mapping"),
        ("dk / zero", 0, "division by zero"),
        ("dk // 0", 0, "division by zero"),
        ("dk % zero", 0, "division by zero"),
        ("zero ** -1", 0, "division by zero"),
        ("9 ** 9 ** 9", 0, "an exponent is at most 64"),
        ("10 ** 19", 0, "the result is too large"),
        ("big * 2", 0, "the result is too large"),
        ("1e308 * 10", 0, "the result is too large"),
        ("1e300 ** 2", 0, "the result is too large"),
        ("(-8) ** 0.5", 0, "the result is no real number"),
        ("log2(zero)", 0, "log2 of 0 is no number within bounds"),
        ("floor(1e300)", 0, "the result is too large"),
        ("mode < 3", 0, "the text 'buckets' and 3 have no order"),
        ("levels < levels", 0, "a list and a list have no order"),
        ("dk in mode", 0, "'in' needs a list on its right"),
        ("levels[3]", 0, "position 3 is outside a list of 3"),
        ("levels[-4]", 0, "position -4 is outside a list of 3"),
        ("levels[1.0]", 0, "a position in a list is a whole number, found 1.0"),
        ("levels[true]", 0, "a position in a list is a whole number, found true"),
        ("dk[0]", 0, "only a list has items, found 12"),
        ("len(dk)", 0, "only a list or text has a length, found 12"),
        ("sum(dk)", 0, "sum needs a list, found 12"),
        ("min(dk)", 0, "min needs a list, found 12"),
        ("max(empty)", 0, "max of an empty list"),
        ("round(lr, 99)", 0, "round takes at most 18 decimal places, found 99"),
        ("dk + unknown", 5, "'unknown' is not a name here"),
    ],
)
def test_what_has_no_value_is_told_at_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        value(text)
    assert message in raised.value.message and raised.value.offset == offset


@pytest.mark.parametrize("held", [float("nan"), np.float64("nan"), 2**63, -(2**63)])
def test_values_out_of_bounds_are_refused_at_their_name(held: object) -> None:
    with pytest.raises(ExpressionError):
        value("1 == x", {"x": held}.__getitem__)


COLUMNS: dict[str, Any] = {
    "n": np.array([1, 2, 4, 8]),
    "small": np.array([3, -2, 0, 5], dtype=np.int32),
    "x": np.array([0.5, 1.5, 2.5, -3.25], dtype=np.float32),
    "on": np.array([True, False, True, True]),
    "mode": np.array(["a", "bb", "a", ""]),
    "levels": [np.array([4, 3, 2, 1]), 2, np.array([1, 1, 2, 2])],
    "dim": 64,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n * dim <= 128", [True, True, False, False]),
        ("1 < n < 8", [False, True, True, False]),
        ("on and n > 1", [False, False, True, True]),
        ("not on or mode == 'bb'", [False, True, False, False]),
        ("mode in ['a', 'b']", [True, False, True, False]),
        ("n in [2, levels[1] * 4]", [False, True, False, True]),
        ("levels[0] == n", [False, False, False, False]),
        ("levels == [4, 2, 1]", [True, False, False, False]),
        ("min(levels)", [1, 1, 2, 1]),
        ("sum(levels) + prod(levels)", [15, 12, 14, 9]),
        ("max(n, 2.5)", [2.5, 2.5, 4.0, 8.0]),
        ("small // 2", [1, -1, 0, 2]),
        ("small % 3", [0, 1, 0, 2]),
        ("round(x)", [0, 2, 2, -3]),
        ("ceil(x) - floor(x)", [1, 1, 1, 1]),
        ("round(x, 1)", [0.5, 1.5, 2.5, -3.2]),
        ("log2(n)", [0.0, 1.0, 2.0, 3.0]),
        ("n ** 2", [1, 4, 16, 64]),
        ("2 ** n", [2, 4, 16, 256]),
        ("on + on", [2, 0, 2, 2]),
        ("-on", [-1, 0, -1, -1]),
        ("not mode", [False, False, False, True]),
        ("mode == 3", [False] * 4),
        ("n != 'a'", [True] * 4),
        ("n == null", [False] * 4),
    ],
)
def test_columns_are_elementwise(text: str, expected: list[Any]) -> None:
    found = value(text, COLUMNS.__getitem__)
    assert found.tolist() == expected and type(found.tolist()[0]) is type(expected[0])
    assert evaluate_each(parse(text), COLUMNS.__getitem__, 4) == expected


def test_what_no_column_takes_part_in_stays_single() -> None:
    assert value("dim * 2", COLUMNS.__getitem__) == 128
    assert value("false and n > 1", COLUMNS.__getitem__) is False
    assert value("n > 1 and false", COLUMNS.__getitem__) is False
    first, second = value("[n, dim]", COLUMNS.__getitem__)
    assert first.tolist() == [1, 2, 4, 8] and second == 64


@pytest.mark.parametrize(
    "text",
    [
        *("8 % small", "1 / small", "small ** -1", "log2(small)", "n * 4611686018427387904", "n ** 30", "x ** 0.5"),
        *("levels[n]", "round(x, n)", "len(n)", "mode + 1", "mode < n", "x * 1e308 * 1e308", "floor(x * 1e300)"),
        *("n / 3 < 9007199254740993 * n", "-x * 9e307 * 9"),
    ],
)
def test_what_may_differ_from_python_is_left_to_rows(text: str) -> None:
    with pytest.raises(NotVectorisable):
        value(text, COLUMNS.__getitem__)


def test_rows_without_a_value_are_told_one_by_one() -> None:
    found = evaluate_each(parse("small != 0 and 30 % small == 0"), COLUMNS.__getitem__, 4)
    assert found == [True, True, False, True]
    found = evaluate_each(parse("30 // small"), COLUMNS.__getitem__, 4)
    assert found[:2] == [10, -15] and found[3] == 6
    assert isinstance(found[2], ExpressionError) and found[2].message == "division by zero"


@pytest.mark.parametrize(
    "column", [np.array([[1]]), np.array([None, 1]), np.array([1j]), np.array([np.nan]), np.array([2**63], dtype=np.uint64)]
)
def test_columns_of_other_things_are_left_to_rows(column: np.ndarray) -> None:
    with pytest.raises(NotVectorisable):
        value("c == 1", {"c": column}.__getitem__)


def test_empty_columns_give_empty_columns() -> None:
    columns = {"n": np.array([], dtype=np.int64)}
    assert value("n * 2 <= 3 and 1 / n > 0", columns.__getitem__).shape == (0,)


def test_a_hundred_thousand_candidates_take_well_under_a_second() -> None:
    columns = {name: np.arange(1, 100_001) for name in ("dk", "n_heads", "dim")}
    expression = parse("dk * n_heads <= 4 * dim and dk % 2 == 0 and log2(dim) >= 1")
    started = time.process_time()
    assert evaluate(expression, columns.__getitem__).sum() == 2
    assert time.process_time() - started < 1


INTEGERS = st.integers(-9, 9) | st.sampled_from([64, 1000, 2**31, 2**53 + 1, 2**62 - 1, -(2**61)])
REALS = st.sampled_from([0.0, -0.0, 0.5, -1.5, 2.5, 1e-4, 3.0, 1e20, -1e300, 1e308, 0.1, 7.3, float("inf"), float("-inf")])
NUMBERS = st.sampled_from(
    ["a", "b", "x", "y", "on", "s", "r", "2", "3", "0", "-1", "0.5", "7", "levels[0]", "levels[1]", "len(levels)"]
)


def _numeric(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**"])
    functions = st.sampled_from(["abs", "round", "floor", "ceil", "log2", "-", "+"])
    folds = st.sampled_from(["min", "max", "sum", "prod"])
    return (
        st.builds("({} {} {})".format, inner, operators, inner)
        | st.builds("{}({})".format, functions, inner)
        | st.builds("round({}, {})".format, inner, st.sampled_from(["0", "1", "2", "-1"]))
        | st.builds("{}([{}, {}])".format, folds, inner, inner)
        | st.builds("{}(levels)".format, folds)
    )


def _logical(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner) | st.builds("(not {})".format, inner)


NUMERIC = st.recursive(NUMBERS, _numeric, max_leaves=5)
ORDER = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
COMPARED = (
    st.builds("({} {} {})".format, NUMERIC, ORDER, NUMERIC)
    | st.builds("({} {} {} {} {})".format, NUMERIC, ORDER, NUMERIC, ORDER, NUMERIC)
    | st.builds("({} {} [{}, {}])".format, NUMERIC, st.sampled_from(["in", "not in"]), NUMERIC, NUMERIC)
    | st.builds("(mode {} {})".format, ORDER, st.sampled_from(["'a'", "mode", "''", "a", "null"]))
    | st.builds("(levels {} [{}, {}])".format, st.sampled_from(["==", "!="]), NUMERIC, NUMERIC)
    | st.sampled_from(["on", "a", "mode", "mode in ['a', 'c']", "levels", "true", "null"])
)
EXPRESSIONS = NUMERIC | st.recursive(COMPARED, _logical, max_leaves=4) | st.builds("[{}, {}]".format, NUMERIC, COMPARED)


@st.composite
def _columns(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    count = draw(st.integers(1, 4))

    def column(elements: st.SearchStrategy[Any], dtype: Any) -> np.ndarray:
        return np.array(draw(st.lists(elements, min_size=count, max_size=count)), dtype=dtype)

    columns = {name: column(INTEGERS, np.int64) for name in ("a", "b")} | {name: column(REALS, np.float64) for name in ("x", "y")}
    columns |= {"on": column(st.booleans(), bool), "mode": column(st.sampled_from(["a", "b", ""]), str)}
    levels = [column(INTEGERS, np.int64), draw(INTEGERS)]
    return count, {**columns, "levels": levels, "s": draw(INTEGERS), "r": draw(REALS)}


def _row(found: Any, row: int) -> Any:
    if isinstance(found, list):
        return [_row(item, row) for item in found]
    return found[row].item() if isinstance(found, np.ndarray) else found


def _typed(found: Any) -> Any:
    return [_typed(item) for item in found] if isinstance(found, list) else (type(found), found)


@settings(max_examples=1000, deadline=None)
@given(EXPRESSIONS, _columns())
def test_columns_equal_rows_in_value_and_type(text: str, drawn: tuple[int, dict[str, Any]]) -> None:
    count, columns = drawn
    try:
        expression = parse(text)
    except ExpressionError as error:
        assert "deeper" in error.message or "too many" in error.message
        return
    rows = evaluate_each(expression, columns.__getitem__, count)
    try:
        found = evaluate(expression, columns.__getitem__)
    except NotVectorisable:
        return
    except ExpressionError:
        assert all(isinstance(row, ExpressionError) for row in rows)
        return
    assert [_typed(_row(found, row)) for row in range(count)] == [_typed(row) for row in rows]


Worked = tuple[str, Callable[[int, int], Any]]
PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    **{"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv},
    **{"%": operator.mod, "**": operator.pow, "<": operator.lt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne},
}


def _worked(left: Worked, symbol: str, right: Worked) -> Worked:
    return f"({left[0]} {symbol} {right[0]})", lambda a, b: PYTHON[symbol](left[1](a, b), right[1](a, b))


LEAVES: list[Worked] = [("a", lambda a, b: a), ("b", lambda a, b: b), ("2", lambda a, b: 2), ("7", lambda a, b: 7)]


@settings(deadline=None)
@given(
    st.recursive(
        st.sampled_from(LEAVES), lambda inner: st.builds(_worked, inner, st.sampled_from(list(PYTHON)), inner), max_leaves=6
    ),
    st.integers(-9, 9),
    st.integers(-9, 9),
)
def test_what_has_a_value_has_that_of_python(worked: Worked, a: int, b: int) -> None:
    text, python = worked
    try:
        found = evaluate(parse(text), {"a": a, "b": b}.__getitem__)
    except ExpressionError:
        return
    assert found == python(a, b)
