"""What an expression may be, and that nothing else gets through."""

import dataclasses
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.expression import (
    Expression,
    ExpressionError,
    evaluate,
    inner_expression,
    is_expression,
    misplaced_expression,
    parse,
)
from orchestrator.expression.parser import DEEPEST, LONGEST


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dk * n_heads <= 4 * dim", {"dk", "n_heads", "dim"}),
        ("16 * memory_block", {"memory_block"}),
        ("levels[0] // 4", {"levels"}),
        ("mode == 'buckets'", {"mode"}),
        ("task.vocab_size >= 2 ** 5 and not training.epochs in [0, 1]", {"task.vocab_size", "training.epochs"}),
        ("max(len(levels), sum([dk, dv])) % 2 == 0 or true", {"levels", "dk", "dv"}),
        ("1 < dk < 5 != null", {"dk"}),
        ("  dk\n  <=\tdim\n", {"dk", "dim"}),
        ("(1, 'two', -3.5e2, False)", set()),
        ("'#' == mark", {"mark"}),
    ],
)
def test_the_names_of_an_expression(text: str, names: set[str]) -> None:
    expression = parse(text)
    assert expression.names == names and expression.text == text


def test_expressions_are_values() -> None:
    assert parse("dk + 1") == parse("dk + 1") != parse("dk + 2")
    assert len({parse("dk + 1"), parse("dk + 1")}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse("dk").text = "dv"  # type: ignore[misc]


ATTACKS = [
    ("", 0, "empty"),
    ("().__class__.__bases__[0].__subclasses__()", 0, "only these functions"),
    ("''.join", 0, "may have a dot"),
    ("dk.real", 0, "may have a dot"),
    ("task.__class__", 0, "is not a name"),
    ("task._a__b", 0, "is not a name"),
    ("task.x.y", 0, "may have a dot"),
    ("1 + (task).x", 4, "may have a dot"),
    ("task . x", 0, "may have a dot"),
    ("1 + task", 4, "write task.NAME"),
    ("__import__('os')", 0, "only these functions"),
    ("1 + eval('1')", 4, "only these functions"),
    ("(len)([1])", 0, "only these functions"),
    ("[len][0]([1])", 0, "only these functions"),
    ("len", 0, "write len(…)"),
    ("lambda: 1", 0, "'lambda'"),
    ("[x for x in levels]", 0, "comprehensions"),
    ("sum(x for x in levels)", 3, "comprehensions"),
    ("{x: 1 for x in levels}", 0, "comprehensions"),
    ("(x := 1)", 1, "':='"),
    ("f'{dk}'", 0, "f-strings"),
    ("min(*levels)", 4, "'*'"),
    ("min(1, key=2)", 0, "named"),
    ("min(**levels)", 0, "named"),
    ("min()", 0, "cannot take 0"),
    ("abs(1, 2)", 0, "cannot take 2"),
    ("1 if dk else 2", 0, "if … else"),
    ("{1: 2}", 0, "mappings"),
    ("{1, 2}", 0, "sets"),
    ("levels[1:2]", 7, "slices"),
    ("dk & dv", 0, "write 'and'"),
    ("dk | dv", 0, "write 'or'"),
    ("dk ^ 2", 0, "write '**'"),
    ("~dk", 0, "write 'not'"),
    ("dk is null", 0, "write '=='"),
    ("dk @ dv", 0, "operator"),
    ("dk << 2", 0, "operator"),
    ("1j", 0, "not available"),
    ("b'x'", 0, "not available"),
    ("...", 0, "not available"),
    ("1e999", 0, "too large"),
    ("9223372036854775808", 0, "too large"),
    ("await dk", 0, "not available"),
    ("yield dk", 0, "not an expression"),
    ("dk = 1", 3, "write '=='"),
    ("dk; dv", 2, "not an expression"),
    ("import os", 0, "not an expression"),
    ("dk dv", 3, "not an expression"),
    ("4M", 0, "not an expression"),
    ("(dk", 0, "not an expression"),
    ("dk # + 1", 3, "comments"),
    ("(dk) # ) + 1", 5, "comments"),
    ("dk \\\n + 1", 3, "is not available"),
    ("'\\x41'", 1, "is not available"),
    ("dk\0", 2, "is not available"),
    ("dk + '\ud800'", 6, "is not available"),
    ("ｄｋ + 1", 0, "is not a name"),
    ("1 + µ", 4, "is not a name"),
    ("ｌen([1])", 0, "only these functions"),
    ("'é' == ｔask.x", 7, "may have a dot"),
    ("(" * 200 + "1" + ")" * 200, DEEPEST, "nested deeper"),
    ("-" * 400 + "1", DEEPEST, "nested deeper"),
    ("not " * 100 + "dk", 4 * DEEPEST, "nested deeper"),
    ("+".join(["dk"] * 100), 0, "nested deeper"),
    ("[" + "1," * 240 + "]", 1 + 2 * 199, "at most 200 parts"),
    ("'" + "x" * LONGEST + "'", LONGEST, "at most 500 characters"),
    ("[" * 499, DEEPEST, "nested deeper"),
]


@pytest.mark.parametrize(("text", "offset", "message"), ATTACKS, ids=[ascii(text)[:30] for text, _, _ in ATTACKS])
def test_what_is_not_whitelisted_is_refused_at_its_place(text: str, offset: int, message: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert time.process_time() - started < 1
    assert message in raised.value.message
    if "only these functions" not in message or not text.startswith("()"):
        assert raised.value.offset == offset


def test_a_syntax_error_makes_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    for text in ("1 is 1", "1or 2", "'a'()", "[1][1, 2]"):
        try:
            parse(text)
        except ExpressionError as error:
            assert error.message
    assert not recwarn.list


FRAGMENTS = st.sampled_from(
    [
        *("dk", "levels", "mode", "task.x", "training.lr", "9", "2.5", "'a'", "true", "null", "(", ")", "[", "]", ",", " "),
        *("+", "-", "*", "/", "//", "%", "**", "<", "<=", "==", " in ", " not ", " and ", " or ", "len(", "min(", "round("),
        *(
            "log2(",
            "prod(",
            "lambda ",
            ":",
            "=",
            ".",
            "__class__",
            "{",
            "}",
            "#",
            "\\",
            "\n",
            "\0",
            "ｄ",
            "é",
            "'",
            '"',
            "f'",
            "`",
        ),
    ]
)
VALUES = {"dk": 9, "levels": [1, 2, 3], "mode": "a", "task.x": 10**12, "training.lr": 0.5}


@settings(deadline=None)
@given(st.lists(FRAGMENTS, max_size=25).map("".join) | st.text(max_size=40))
@example("9**9**9")
@example("9**64*9**64*9**64")
@example("'a'*9**9")
@example("round(9, 9**9)")
@example("levels*9**9")
def test_no_text_does_more_than_have_a_value_or_be_refused(text: str) -> None:
    started = time.process_time()
    try:
        value = evaluate(parse(text), VALUES.__getitem__)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text) + 1
    else:
        assert isinstance(value, (int, float, str, list, type(None)))
    assert time.process_time() - started < 1


def test_interpolation_is_the_whole_text() -> None:
    assert inner_expression("${16 * memory_block}") == "16 * memory_block"
    assert is_expression("${}") and inner_expression("${}") == ""
    for value in ("16", "$x", "{x}", 16, None, ["${x}"], "a ${x}", "${x} b", "${x}${y}", "${x"):
        assert not is_expression(value)
    for value in ("a ${x}", "${x} b", "${x}${y}", "${x"):
        assert "must be the whole value" in (misplaced_expression(value) or "")
    for value in ("16", "$x", "{x}", 16, None, "${x}"):
        assert misplaced_expression(value) is None


def test_the_tree_holds_only_our_own_types() -> None:
    def walk(value: object) -> None:
        if isinstance(value, tuple):
            for item in value:
                walk(item)
        elif dataclasses.is_dataclass(value):
            assert type(value).__module__ == "orchestrator.expression.tree"
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name))
        else:
            assert type(value) in (int, float, str, bool, type(None), frozenset)

    expression = parse("not (-dk + [1, 2][0] < max(dv, 2.0) and 'x' in names or true)")
    assert isinstance(expression, Expression)
    walk(expression)
