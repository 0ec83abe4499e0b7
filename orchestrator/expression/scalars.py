"""Operations on single numbers: Python's, bounded, so that no expression takes long or grows large."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from orchestrator.expression.errors import Refusal

BOUND = 2**63
"""Whole numbers stay below this, in absolute value."""
LARGEST_EXPONENT = 64

_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    **{"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv},
    **{"//": operator.floordiv, "%": operator.mod, "**": operator.pow},
    **{"min": min, "max": max},
}


def number(value: Any) -> int | float:
    """``value`` as a number; true and false count as 1 and 0.

    Raises:
        Refusal: it is text, null, a list or a mapping.
    """
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, (int, float)):
        raise Refusal(f"a number is needed here, found {describe(value)}")
    return value


def checked(value: Any) -> int | float:
    """``value``, where it is a whole number within bounds or a finite real number."""
    if isinstance(value, int) and abs(value) < BOUND:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Refusal("the result is no real number" if isinstance(value, complex) or value != value else "the result is too large")


def arithmetic(symbol: str, left: Any, right: Any) -> int | float:
    """One of + - * / // % ** min max of two numbers; a real operand makes a real result, of min and max too."""
    left, right = number(left), number(right)
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
    if symbol == "**" and abs(right) > LARGEST_EXPONENT:
        raise Refusal(f"an exponent is at most {LARGEST_EXPONENT}, in absolute value")
    try:
        return checked(_OPERATIONS[symbol](left, right))
    except ZeroDivisionError:
        raise Refusal("division by zero") from None
    except OverflowError:
        raise Refusal("the result is too large") from None


def unary(function: str, value: Any) -> int | float:
    """One of - + abs floor ceil round log2 of a number."""
    value = number(value)
    try:
        return checked(_UNARY[function](value))
    except (OverflowError, ValueError):
        raise Refusal(f"{function} of {value} is no number within bounds") from None


def round_to(value: Any, digits: int) -> int | float:
    """Rounded to so many decimal places, as Python rounds."""
    return checked(round(number(value), digits))


def describe(value: Any) -> str:
    """What a value is, in words for a message."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    names = {type(None): "null", list: "a list", dict: "a mapping", bool: str(value).lower(), int: str(value), float: str(value)}
    return names.get(type(value), "a column of values")


_UNARY: dict[str, Callable[[Any], Any]] = {
    **{"-": operator.neg, "+": operator.pos, "abs": abs},
    **{"floor": math.floor, "ceil": math.ceil, "round": round, "log2": math.log2},
}
