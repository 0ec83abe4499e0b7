"""Expressions that NumPy cannot do for all candidates at once: evaluated once for each distinct combination of what they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from orchestrator.expression import Expression, ExpressionError, NotVectorisable, evaluate_each

_EXACT = 2**53


def evaluate_distinct(expression: Expression, lookup: Callable[[str], Any]) -> tuple[np.ndarray, np.ndarray, int]:
    """(values, known) of shape (N,) over columns of N candidates, and how many evaluations that took.

    Where ``known`` is false the expression has no value.

    Raises:
        NotVectorisable: what it reads, or its value, is no column of plain numbers or of text.
    """
    read = {name: lookup(name) for name in expression.names}
    columns = {name: value for name, value in read.items() if isinstance(value, np.ndarray)}
    if not columns or any(isinstance(value, list) for value in read.values()):
        raise NotVectorisable("a list differs from candidate to candidate")
    first, inverse = _distinct_rows(list(columns.values()))
    values = evaluate_each(expression, lambda name: columns[name][first] if name in columns else read[name], len(first))
    known = np.array([not isinstance(value, ExpressionError) for value in values])
    return _column(values, known)[inverse], known[inverse], len(first)


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
