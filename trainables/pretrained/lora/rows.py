"""Values that are asked one candidate at a time, of several fields that may be columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def for_each_row(function: Callable[..., Any], *fields: Any) -> Any:
    """``function(*fields)``; where some are columns, or lists of columns, an array with that of each row."""
    rows = next((length for field in fields if (length := _rows(field)) is not None), None)
    if rows is None:
        return function(*fields)
    return np.array([function(*(_row(field, index) for field in fields)) for index in range(rows)])


def _rows(field: Any) -> int | None:
    if isinstance(field, list):
        return next((length for item in field if (length := _rows(item)) is not None), None)
    return len(field) if isinstance(field, np.ndarray) else None


def _row(field: Any, index: int) -> Any:
    if isinstance(field, list):
        return [_row(item, index) for item in field]
    return field[index] if isinstance(field, np.ndarray) else field
