"""Fuzzing of what reads a stranger's text: search spaces and expressions. The same properties run shortly in the test suite, and
as long as you like by hand: ``python tests/hostile/fuzz.py --minutes 30``, with exit status 1 where one fails.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator.document import SearchSpaceError
from orchestrator.expression import ExpressionError, NotVectorisable, evaluate, evaluate_each, parse
from orchestrator.space.reading import read_search_space
from orchestrator.space.reading.sweep import TOP_LEVEL
from trainables.registry import architectures

SECONDS_OF_AN_EXAMPLE = 5.0
"""Processor time; a reading takes milliseconds."""
EXAMPLES_OF_A_ROUND = 200

Property = Callable[[Any, Counter[str]], None]


def _words(text: str) -> list[str]:
    return text.split()


# Search spaces.

_SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
_TEXTS = [path.read_text() for path in _SPACES]
_TOKENS = [re.findall(r"[A-Za-z_0-9.]+|\s+|.", text) for text in _TEXTS]
_SPLICES = [
    *_words("{ } [ ] : , ' ${ null true -1 .nan -.inf 1e400 0x7fffffffffffffff 999999999999999999 ! | > # % --- [[]] .."),
    *("- ", "? ", '"', "&a ", "*a", "!!map ", "{choice: []}", "<<: *a", "{grid: [1, 2]}", "{int: [1, 999999999999999999]}"),
    *("${dk ** 9 ** 9}", "{float: [0, 1], log: true}", "\t", "\r", "\x00", "\ufeff", "\u2028"),
]
_KEYS = [
    *TOP_LEVEL,
    *_words("int float choice grid list length equal step log when name architecture scope target min max require params"),
    *_words("measured metric mode sampler trials replicates experiment keep dim dk dv du n_heads n_layers lr epochs"),
    *_words("batch_size vocab_size gpt delta_net unified_kv"),
]
_PLAUSIBLE = [
    "mqar",
    "gpt",
    "${dk}",
    "${task.vocab_size // 2}",
    "${[0] * 9}",
    "4M",
    "2%",
    "tpe",
    "asha",
    "val/loss",
    "../x",
    "auto",
]
_SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.floats() | st.text(max_size=12) | st.sampled_from(_PLAUSIBLE)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=6), inner, max_size=5),
    max_leaves=25,
)
_GROUND = {"task": {"name": "mqar"}, "architectures": {name: {} for name in sorted(architectures())[:1]}}


@st.composite
def _mutated(draw: Any) -> bytes:
    tokens = list(_TOKENS[draw(st.integers(0, len(_TOKENS) - 1))])
    for _ in range(draw(st.integers(1, 8))):
        position = draw(st.integers(0, len(tokens) - 1))
        kind = draw(st.sampled_from(["drop", "replace", "insert", "repeat", "swap"]))
        other = draw(st.sampled_from(_SPLICES) | st.sampled_from(tokens) | st.text(max_size=4))
        if kind == "swap":
            place = draw(st.integers(0, len(tokens) - 1))
            tokens[position], tokens[place] = tokens[place], tokens[position]
        else:
            tokens[position] = {
                "drop": "",
                "replace": other,
                "insert": tokens[position] + other,
                "repeat": tokens[position] * 50,
            }[kind]
    return "".join(tokens).encode("utf-8", "surrogatepass")


@st.composite
def _structured(draw: Any) -> bytes:
    content = dict(_GROUND) if draw(st.booleans()) else {}
    content |= draw(st.dictionaries(st.sampled_from(_KEYS[: len(TOP_LEVEL)]), _VALUES, max_size=6))
    if draw(st.booleans()) and isinstance(content.get("architectures"), dict):
        names = st.sampled_from(sorted(architectures())) | st.text(max_size=6)
        content["architectures"] = draw(
            st.dictionaries(names, st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=5), max_size=3)
        )
    text = json.dumps(content, ensure_ascii=draw(st.booleans()))
    return text.replace("Infinity", ".inf").replace("NaN", ".nan").encode("utf-8", "surrogatepass")


DOCUMENTS = (
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | _mutated()
    | _structured()
)


def a_search_space_is_read_or_refused(document: bytes, counts: Counter[str], path: Path) -> None:
    """Whatever the bytes: a specification, or diagnostics with their places that any terminal and JSON can show."""
    path.write_bytes(document)
    try:
        read_search_space(path)
    except SearchSpaceError as error:
        assert error.diagnostics, "refused without a reason"
        for diagnostic in error.diagnostics:
            assert diagnostic.line >= 1 and diagnostic.column >= 1 and diagnostic.message
        json.dumps([diagnostic.to_json() for diagnostic in error.diagnostics])
        shown = str(error)
        assert all(character.isprintable() or character == "\n" for character in shown)
        shown.encode()
        counts["refused"] += 1
    else:
        counts["read"] += 1


# Expressions.

_FIELDS: dict[str, Any] = {
    **{"dk": 12, "dim": 64, "lr": 0.25, "flag": True, "mode": "buckets", "levels": [64, 32, 8], "nothing": None, "zero": 0},
    **{"big": 2**62, "tiny": 5e-324, "huge": 1.7e308, "task.vocab_size": 2048, "training.lr": 1e-3, "backbone": {"config": {}}},
}
_COLUMNS: dict[str, Any] = {
    **_FIELDS,
    "dk": np.array([0, 1, -7, 2**40]),
    "lr": np.array([0.0, 0.5, -1e300, 5e-324]),
    "flag": np.array([True, False, True, False]),
    "mode": np.array(["a", "", "buckets", "é"]),
    "levels": [np.array([1, 2, 3, 4]), 2, np.array([0.5, 1.0, 2.0, -3.0])],
}
_SOUND_ATOMS = st.sampled_from([*_FIELDS, *_words("0 1 -1 2 64 65 999999999999999999 0.1 1e308 true false null '' 'a' []")])
_ODD_ATOMS = st.sampled_from(
    [*_words("x.y unknown dk.real ().__class__ __import__ 0x10 1j 0b1 '%s' b'a' ... 1e999 \uff44\uff4b"), "f'{dk}'", "9" * 450]
)
_SOUND_OPERATORS = st.sampled_from([*"+-*/%<>", "//", "**", "==", "!=", "<=", ">=", " and ", " or ", " in ", " not in "])
_ODD_OPERATORS = st.sampled_from([*"@^&|=.,", " is ", " if ", "<<", ":="])
_SOUND_FUNCTIONS = st.sampled_from(_words("len min max sum prod abs round floor ceil log2"))
_ODD_FUNCTIONS = st.sampled_from(_words("eval getattr str print dk"))


def _sound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.tuples(inner, _SOUND_OPERATORS, inner).map("".join)
        | st.tuples(_SOUND_FUNCTIONS, inner).map("{0[0]}({0[1]})".format)
        | st.tuples(st.sampled_from(["min", "max", "round"]), inner, inner).map("{0[0]}({0[1]}, {0[2]})".format)
        | st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | inner.map("({})".format)
        | st.tuples(st.sampled_from(["-", "+", "not "]), inner).map("".join)
        | st.tuples(inner, inner).map("{0[0]}[{0[1]}]".format)
    )


def _odd(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(inner, max_size=4).map(", ".join)
    return (
        _sound(inner)
        | st.tuples(inner, _ODD_OPERATORS, inner).map("".join)
        | st.tuples(_ODD_FUNCTIONS | _SOUND_FUNCTIONS, items).map(lambda parts: f"{parts[0]}({parts[1]})")
        | st.tuples(st.sampled_from(["~", "*", "lambda: ", "await "]), inner).map("".join)
        | st.tuples(inner, st.integers(1, 600)).map(lambda pair: pair[0] * pair[1])
    )


_CHARACTERS = list("()[]{}.,:+-*/%<>=!'\"\\ \n\t#@dk01e_j\0é")
EXPRESSIONS = (
    st.recursive(_SOUND_ATOMS, _sound, max_leaves=20)
    | st.recursive(_SOUND_ATOMS | _ODD_ATOMS, _odd, max_leaves=20)
    | st.text(max_size=60)
    | st.text(st.sampled_from(_CHARACTERS), max_size=60)
)


def an_expression_has_a_plain_value_or_an_error(text: str, counts: Counter[str]) -> None:
    """Whatever the text: a value that is plain and bounded, or an error with its place; for columns the same as row by row."""
    try:
        expression = parse(text)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text) and error.message
        counts["refused"] += 1
        return
    try:
        value = evaluate(expression, _FIELDS.__getitem__)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text) and error.message
        counts["no value"] += 1
    else:
        _assert_plain(value)
        counts["a value"] += 1
    _check_columns(expression)


def _check_columns(expression: Any) -> None:
    try:
        found = evaluate(expression, _COLUMNS.__getitem__)
    except (ExpressionError, NotVectorisable):
        return
    if not expression.names <= _COLUMNS.keys():
        return
    rows = [_row(found, row) for row in range(4)]
    for row, value in enumerate(evaluate_each(expression, _COLUMNS.__getitem__, 4)):
        assert not isinstance(value, ExpressionError) and value == rows[row] and type(value) is type(rows[row])


def _row(value: Any, row: int) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()[row]
    return [_row(item, row) for item in value] if isinstance(value, list) else value


def _assert_plain(value: Any) -> None:
    if isinstance(value, list):
        assert len(value) <= 500
        for item in value:
            _assert_plain(item)
        return
    assert value is None or type(value) in (bool, int, float, str, dict), type(value)
    assert not isinstance(value, int) or abs(value) < 2**63
    assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, str) or len(value) <= 500


# Running them.


def fuzz(strategy: st.SearchStrategy[Any], check: Property, seconds: float) -> Counter[str]:
    """Rounds of examples until the time is used up; how many there were, and what came of them. Each example is timed.

    Raises:
        Exception: what the smallest failing example raised; its notes show the example.
    """
    counts: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES_OF_A_ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def round_of_examples(example: Any) -> None:
        started = time.process_time()
        counts["examples"] += 1
        check(example, counts)
        assert time.process_time() - started < SECONDS_OF_AN_EXAMPLE, "it takes too long"

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        round_of_examples()
    return counts


def fuzz_documents(seconds: float, folder: Path) -> Counter[str]:
    return fuzz(DOCUMENTS, partial(a_search_space_is_read_or_refused, path=folder / "space.yaml"), seconds)


def fuzz_expressions(seconds: float) -> Counter[str]:
    return fuzz(EXPRESSIONS, an_expression_has_a_plain_value_or_an_error, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzes the reader of search spaces and the expressions.")
    parser.add_argument("--minutes", type=float, default=30.0, help="of both together")
    minutes = parser.parse_args().minutes
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        targets = {"search spaces": partial(fuzz_documents, folder=Path(folder)), "expressions": fuzz_expressions}
        for name, target in targets.items():
            try:
                counts = target(minutes * 60 / len(targets))
            except Exception:
                traceback.print_exc()
                failed = True
                print(f"{name}: FAILED", flush=True)
            else:
                print(f"{name}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
