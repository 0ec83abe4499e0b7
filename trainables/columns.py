"""Values that are asked one candidate at a time, where fields may be columns: NumPy arrays with one element a candidate."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from trainables.configuration import Configuration
from trainables.counts import ParameterCounts

_PARTS = ("block", "embedding", "other", "frozen", "buffers", "external")


def by_row(function: Callable[[Any, Any], Any], value: Any, task: Any) -> Any:
    """``function(value, task)``; where ``value`` is a column an array with that of each row, whose task has that row's fields."""
    if not isinstance(value, np.ndarray):
        return function(value, task)
    return np.array([function(row, _row_of(task, index)) for index, row in enumerate(value)])


def counts_by_row(function: Callable[[Any, Any], ParameterCounts], value: Any, task: Any) -> ParameterCounts:
    """As :func:`by_row`, of counts."""
    if not isinstance(value, np.ndarray):
        return function(value, task)
    rows = [function(row, _row_of(task, index)) for index, row in enumerate(value)]
    return ParameterCounts(**{name: np.array([getattr(row, name) for row in rows]) for name in _PARTS})


def _row_of(task: Any, index: int) -> Any:
    fields = task.to_values() if isinstance(task, Configuration) else vars(task)
    if not any(isinstance(value, np.ndarray) for value in fields.values()):
        return task
    return SimpleNamespace(**{name: value[index] if isinstance(value, np.ndarray) else value for name, value in fields.items()})
