"""The operations of :mod:`scalars` on columns: one-dimensional NumPy arrays, one element a candidate.

Each either gives exactly what Python gives row by row or raises NotVectorisable, whatever the reason: a row without a value, a
whole number that might overflow 64 bits or that a real number cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from orchestrator.expression import scalars
from orchestrator.expression.errors import NotVectorisable, Refusal

Column = np.ndarray
_SAFE = 2.0**62
_EXACT = 2**53

_UFUNCS: dict[str, np.ufunc] = {
    **{"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide},
    **{"//": np.floor_divide, "%": np.remainder, "min": np.minimum, "max": np.maximum},
}
_COMPARISONS: dict[str, np.ufunc] = {
    **{"==": np.equal, "!=": np.not_equal},
    **{"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal},
}


def column(values: Column) -> Column:
    """A column as int64, float64, bool or text."""
    if values.ndim != 1 or values.dtype.kind not in "biufU":
        raise NotVectorisable("a column holds plain numbers or text")
    if values.dtype.kind in "bU":
        return values
    if values.dtype.kind == "f":
        _demand(not np.isnan(values).any())
        return values.astype(np.float64)
    _demand(bool(np.all(np.abs(values.astype(np.float64)) < _SAFE)))
    return values.astype(np.int64)


def arithmetic(symbol: str, left: Any, right: Any) -> Column:
    """One of + - * / // % ** min max, elementwise; at least one operand is a column."""
    left, right = _number(left), _number(right)
    if symbol == "**" and not _is_plain_power(left, right):
        return _by_rows(lambda base, exponent: scalars.arithmetic("**", base, exponent), left, right)
    if symbol == "/" or _is_real(left) or _is_real(right):
        left, right = _real(left), _real(right)
    if symbol in ("/", "//", "%"):
        _demand(bool(np.all(right)))
    function = np.power if symbol == "**" else _UFUNCS[symbol]
    with np.errstate(all="ignore"):
        result = function(left, right)
        size = result if _is_real(result) else function(np.asarray(left, np.float64), np.asarray(right, np.float64))
    _demand(bool(np.all(np.abs(size) < (np.inf if _is_real(result) else _SAFE))))
    return np.asarray(result)


def unary(function: str, value: Column) -> Column:
    """One of - + abs floor ceil round log2, elementwise."""
    value = _number(value)
    _demand(bool(np.isfinite(value).all()))
    if function == "log2":
        return _by_rows(lambda element: scalars.unary("log2", element), value)
    if function in ("-", "+", "abs"):
        return np.asarray({"-": np.negative, "+": np.positive, "abs": np.abs}[function](value))
    if not _is_real(value):
        return value
    whole = {"floor": np.floor, "ceil": np.ceil, "round": np.rint}[function](value)
    _demand(bool(np.all(np.abs(whole) < _SAFE)))
    return np.asarray(whole.astype(np.int64))


def round_to(value: Column, digits: int) -> Column:
    """Rounded to so many decimal places, elementwise, as Python rounds."""
    return _by_rows(lambda element: scalars.round_to(element, digits), _number(value))


def compare(symbol: str, left: Any, right: Any) -> Column:
    """One of == != < <= > >=, elementwise; values of different kinds are unequal and have no order."""
    left_kind, right_kind = _kind(left), _kind(right)
    if left_kind != right_kind or left_kind == "other":
        if symbol not in ("==", "!="):
            raise Refusal(f"{scalars.describe(left)} and {scalars.describe(right)} have no order")
        length = len(left) if isinstance(left, Column) else len(right)
        return np.full(length, symbol == "!=")
    if left_kind == "number":
        left, right = _number(left), _number(right)
        if _is_real(left) or _is_real(right):
            left, right = _real(left), _real(right)
    return np.asarray(_COMPARISONS[symbol](left, right))


def truth(value: Column) -> Column:
    """Which elements count as true: numbers other than 0, text other than the empty one."""
    return np.asarray(value != "" if value.dtype.kind == "U" else value.astype(bool))


def _kind(value: Any) -> str:
    if isinstance(value, Column):
        return "text" if value.dtype.kind == "U" else "number"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "other"


def _number(value: Any) -> Any:
    if not isinstance(value, Column):
        return scalars.number(value)
    if value.dtype.kind == "U":
        raise Refusal("a number is needed here, found text")
    return value.astype(np.int64) if value.dtype.kind == "b" else value


def _is_real(value: Any) -> bool:
    return value.dtype.kind == "f" if isinstance(value, Column) else isinstance(value, float)


def _real(value: Any) -> Any:
    if _is_real(value):
        return value
    _demand(bool(np.all(np.abs(value) <= _EXACT)))
    return value.astype(np.float64) if isinstance(value, Column) else float(value)


def _is_plain_power(base: Any, exponent: Any) -> bool:
    """NumPy's power is exact for whole numbers alone, and Python's has one type for all rows only where none is negative."""
    if isinstance(exponent, Column) or _is_real(base) or _is_real(exponent):
        return False
    return bool(0 <= exponent <= scalars.LARGEST_EXPONENT)


def _by_rows(function: Callable[..., int | float], *operands: Any) -> Column:
    """``function`` of each row. NumPy's own pow and log2 may differ from Python's in the last bit."""
    rows = np.broadcast_arrays(*operands)
    try:
        results = [function(*row) for row in zip(*(operand.tolist() for operand in rows), strict=True)]
    except Refusal as error:
        raise NotVectorisable(str(error)) from None
    if len(set(map(type, results))) > 1:
        raise NotVectorisable("some rows are whole numbers and some are not")
    return np.array(results)


def _demand(condition: bool) -> None:
    if not condition:
        raise NotVectorisable("some row needs Python's own arithmetic")
