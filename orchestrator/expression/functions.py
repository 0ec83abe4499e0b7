"""What operators and functions do to any operands: single values, columns, and lists of both."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import numpy as np

from orchestrator.expression import arrays, scalars
from orchestrator.expression.errors import NotVectorisable, Refusal

_MANY = 200
ARGUMENTS: dict[str, tuple[int, int]] = {
    **{"len": (1, 1), "min": (1, _MANY), "max": (1, _MANY), "sum": (1, 1), "prod": (1, 1)},
    **{"abs": (1, 1), "round": (1, 2), "floor": (1, 1), "ceil": (1, 1), "log2": (1, 1)},
}
"""The functions that an expression can call, each with the least and greatest number of its arguments."""

_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_MOST_DIGITS = 18


def is_column(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    """One of + - * / // % ** min max."""
    if is_column(left) or is_column(right):
        return arrays.arithmetic(symbol, left, right)
    return scalars.arithmetic(symbol, left, right)


def unary(function: str, value: Any) -> Any:
    """One of - + abs floor ceil round log2."""
    return arrays.unary(function, value) if is_column(value) else scalars.unary(function, value)


def truth(value: Any) -> Any:
    """True or false, or a column of these: zero, empty text, an empty list and null are false."""
    return arrays.truth(value) if is_column(value) else bool(value)


def negation(value: Any) -> Any:
    result = truth(value)
    return ~result if is_column(result) else not result


def compare(symbol: str, left: Any, right: Any) -> Any:
    """One of == != < <= > >= in, not in."""
    if symbol in ("in", "not in"):
        found = _contains(right, left)
        return found if symbol == "in" else negation(found)
    if symbol in ("==", "!="):
        equal = _equal(left, right)
        return equal if symbol == "==" else negation(equal)
    if is_column(left) or is_column(right):
        return arrays.compare(symbol, left, right)
    both_text = isinstance(left, str) and isinstance(right, str)
    if not both_text and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
        raise Refusal(f"{scalars.describe(left)} and {scalars.describe(right)} have no order")
    return _ORDERS[symbol](left, right)


def index(target: Any, position: Any) -> Any:
    """An item of a list; negative positions count from the end."""
    if is_column(position):
        raise NotVectorisable("the position differs from row to row")
    if not isinstance(target, list):
        raise Refusal(f"only a list has items, found {scalars.describe(target)}")
    if isinstance(position, bool) or not isinstance(position, int):
        raise Refusal(f"a position in a list is a whole number, found {scalars.describe(position)}")
    if not -len(target) <= position < len(target):
        raise Refusal(f"position {position} is outside a list of {len(target)}")
    return target[position]


def call(function: str, arguments: list[Any]) -> Any:
    """One of the functions in ``ARGUMENTS``, whose number of arguments has been checked."""
    match function:
        case "len":
            return _length(arguments[0])
        case "sum":
            return functools.reduce(functools.partial(arithmetic, "+"), _listed(function, arguments[0]), 0)
        case "prod":
            return functools.reduce(functools.partial(arithmetic, "*"), _listed(function, arguments[0]), 1)
        case "min" | "max":
            return _extreme(function, _listed(function, arguments[0]) if len(arguments) == 1 else arguments)
        case "round" if len(arguments) == 2:
            return _round_to(*arguments)
        case _:
            return unary(function, arguments[0])


def _contains(container: Any, value: Any) -> Any:
    if not isinstance(container, list):
        raise Refusal(f"'in' needs a list on its right, found {scalars.describe(container)}")
    return functools.reduce(operator.or_, (_equal(item, value) for item in container), False)


def _equal(left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        return functools.reduce(operator.and_, itertools.starmap(_equal, zip(left, right, strict=True)), True)
    if is_column(left) or is_column(right):
        return arrays.compare("==", left, right)
    return bool(left == right)


def _length(value: Any) -> int:
    if not isinstance(value, (list, str)):
        raise Refusal(f"only a list or text has a length, found {scalars.describe(value)}")
    return len(value)


def _listed(function: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refusal(f"{function} needs a list, found {scalars.describe(value)}")
    return value


def _extreme(function: str, values: list[Any]) -> Any:
    if not values:
        raise Refusal(f"{function} of an empty list")
    return functools.reduce(functools.partial(arithmetic, function), values[1:], unary("+", values[0]))


def _round_to(value: Any, digits: Any) -> Any:
    if is_column(digits):
        raise NotVectorisable("the number of digits differs from row to row")
    if isinstance(digits, bool) or not isinstance(digits, int) or abs(digits) > _MOST_DIGITS:
        raise Refusal(f"round takes at most {_MOST_DIGITS} decimal places, found {scalars.describe(digits)}")
    return arrays.round_to(value, digits) if is_column(value) else scalars.round_to(value, digits)
