"""Expressions that NumPy cannot do for all candidates at once: evaluated once for each distinct combination of what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from orchestrator.expression import Expression, ExpressionError, NotVectorisable, evaluate_each

_EXACT = 2**53


def evaluate_distinct(expression: Expression, lookup: Callable[[str], Any]) -> tuple[np.ndarray, np.ndarray, int]:
    """(values, known) of shape (N,) over columns of N candidates, also inside lists, and how many evaluations that took.

    Where ``known`` is false the expression has no value.

    Raises:
        NotVectorisable: it reads no column, or its value is no plain number or text.
    """
    read = {name: lookup(name) for name in expression.names}
    columns = [column for value in read.values() for column in _columns(value)]
    if not columns:
        raise NotVectorisable("what it reads is no column")
    first, inverse = _distinct_rows(columns)
    values = evaluate_each(expression, lambda name: _rows(read[name], first), len(first))
    known = np.array([not isinstance(value, ExpressionError) for value in values])
    return _column(values, known)[inverse], known[inverse], len(first)


def _columns(value: Any) -> Iterator[np.ndarray]:
    """The columns in a value: itself, or those in a list."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _columns(item)


def _rows(value: Any, rows: np.ndarray) -> Any:
    if isinstance(value, list):
        return [_rows(item, rows) for item in value]
    return value[rows] if isinstance(value, np.ndarray) else value


def _distinct_rows(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct combination, and for every row which combination it has."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        plain = np.array([repr(value) for value in column]) if column.dtype == object else column
        _, codes = np.unique(plain, return_inverse=True)
        # Numbered anew after each column, so that the product of sizes cannot overflow.
        _, combined = np.unique(combined * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
    _, first = np.unique(combined, return_index=True)
    return first, combined


def _column(values: list[Any], known: np.ndarray) -> np.ndarray:
    kinds = {type(value) for value, is_known in zip(values, known, strict=True) if is_known}
    if kinds and not (kinds <= {int, float, bool} or kinds == {str}):
        raise NotVectorisable("the value is no plain number or text")
    filler: Any = "" if kinds == {str} else 0
    filled = [value if is_known else filler for value, is_known in zip(values, known, strict=True)]
    if kinds > {float} and any(abs(value) > _EXACT for value in filled):
        raise NotVectorisable("some rows are whole numbers too large for a real number")
    return np.array(filled) if kinds else np.zeros(len(values), dtype=np.int64)
