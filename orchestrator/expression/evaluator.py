"""The value of an expression, for one candidate or for a column of candidates at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from orchestrator.expression import arrays, functions, scalars
from orchestrator.expression.errors import ExpressionError, NotVectorisable, Refusal
from orchestrator.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Index,
    ListOf,
    Literal,
    Logical,
    Name,
    Not,
    Signed,
    Term,
)

Lookup = Callable[[str], Any]
"""Gives the value of a name; raises KeyError where there is none."""


def evaluate(expression: Expression, lookup: Lookup) -> Any:
    """The value of ``expression``.

    Single values follow Python with five differences: ``and``, ``or``, ``not`` give true or false; a real operand makes
    ``min`` and ``max`` real; true and false count as 1 and 0; only numbers take part in arithmetic; whole numbers stay below
    2^63 in absolute value and real results are finite. ``and``, ``or`` and chained comparisons stop at the first operand that
    decides.

    Where ``lookup`` gives one-dimensional NumPy arrays of one length N (also inside lists), the result is an array of shape (N,),
    or a list with such arrays, or a single value that holds for all rows; it equals, in value and type, what row by row would
    give.

    Raises:
        ExpressionError: there is no value: a wrong type, division by zero, a number out of bounds, an unknown name.
        NotVectorisable: arrays are involved, and some row has no value or could differ from Python's arithmetic;
            :func:`evaluate_each` goes row by row.
    """
    evaluation = _Evaluation(lookup)
    try:
        return evaluation.value(expression.root)
    except ExpressionError as error:
        if evaluation.saw_column:
            raise NotVectorisable(error.message) from error
        raise


def evaluate_each(expression: Expression, lookup: Lookup, count: int) -> list[Any]:
    """The value in each of ``count`` rows, evaluated one by one; an ExpressionError in place of a value that does not exist."""
    values = {name: _each_row(lookup(name), count) for name in expression.names}
    return [_value_or_error(expression, {name: rows[row] for name, rows in values.items()}) for row in range(count)]


def _value_or_error(expression: Expression, values: dict[str, Any]) -> Any:
    try:
        return evaluate(expression, values.__getitem__)
    except ExpressionError as error:
        return error


def _each_row(value: Any, count: int) -> list[Any]:
    if isinstance(value, np.ndarray):
        return list(value.tolist())
    if isinstance(value, (list, tuple)):
        items = [_each_row(item, count) for item in value]
        return [[item[row] for item in items] for row in range(count)]
    return [value] * count


class _Evaluation:
    """One walk over a syntax tree; its depth is bounded by the parser."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.saw_column = False

    def value(self, term: Term) -> Any:
        try:
            return self._value(term)
        except Refusal as error:
            raise ExpressionError(str(error), term.offset) from None

    def _value(self, term: Term) -> Any:
        match term:
            case Literal():
                return term.value
            case Name():
                return self._named(term)
            case ListOf():
                return [self.value(item) for item in term.items]
            case Arithmetic():
                return functions.arithmetic(term.operator, self.value(term.left), self.value(term.right))
            case Signed():
                return functions.unary(term.operator, self.value(term.operand))
            case Not():
                return functions.negation(self.value(term.operand))
            case Logical():
                return self._logical(term)
            case Comparison():
                return self._comparison(term)
            case Index():
                return functions.index(self.value(term.target), self.value(term.position))
            case Call():
                return functions.call(term.function, [self.value(argument) for argument in term.arguments])
        raise TypeError(f"unknown term {term!r}")

    def _logical(self, term: Logical) -> Any:
        decides = term.operator == "or"
        return self._until(decides, (functions.truth(self.value(operand)) for operand in term.operands))

    def _comparison(self, term: Comparison) -> Any:
        pairs = itertools.pairwise(map(self.value, term.operands))
        results = (functions.compare(operator, *pair) for operator, pair in zip(term.operators, pairs, strict=True))
        return self._until(False, results)

    def _until(self, decides: bool, truths: Any) -> Any:
        """Joins truths by ``or`` (``decides`` is True) or ``and``, taking no further one when a single value decides all rows."""
        result: Any = not decides
        for truth in truths:
            if not functions.is_column(truth) and truth == decides:
                return decides
            if functions.is_column(truth):
                result = truth if not functions.is_column(result) else (result | truth if decides else result & truth)
        return result

    def _named(self, term: Name) -> Any:
        try:
            value = self._lookup(term.name)
        except KeyError:
            raise Refusal(f"'{term.name}' is not a name here") from None
        return self._clean(value)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            self.saw_column = True
            return arrays.column(value)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, float) and math.isnan(value):
            raise Refusal("the value is not a number (nan)")
        if isinstance(value, int) and abs(value) >= scalars.BOUND:
            raise Refusal("the number is too large")
        return value
