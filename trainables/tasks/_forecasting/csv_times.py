"""Times in a CSV file: read as numbers or ISO 8601 timestamps, and held to be sorted and regular."""

from __future__ import annotations

import contextlib
from array import array
from datetime import datetime, timedelta

import numpy as np

from trainables.configuration import ConfigurationError
from trainables.tasks._forecasting.series import Array

_HOUR = timedelta(hours=1)


def finite_number(cell: str) -> float:
    """Raises ValueError unless ``cell`` is a finite decimal number."""
    number = float(cell)
    if "_" in cell or number - number != 0:
        raise ValueError(cell)
    return number


class Clock:
    """Reads the times of one column: all like the first one, plain numbers or ISO 8601 timestamps (as hours since the first)."""

    def __init__(self, origin: datetime | None) -> None:
        self._origin = origin

    @classmethod
    def started_by(cls, cell: str) -> Clock | None:
        """The clock of a column whose first time is ``cell``; None where that is no time."""
        with contextlib.suppress(ValueError):
            finite_number(cell)
            return cls(None)
        with contextlib.suppress(ValueError):
            return cls(datetime.fromisoformat(cell.strip()))
        return None

    @property
    def wanted(self) -> str:
        """What a cell should have been."""
        if self._origin is None:
            return "a finite number, like the first one"
        zone = "without" if self._origin.tzinfo is None else "with"
        return f"an ISO 8601 timestamp {zone} a time zone, like the first one"

    def read(self, cell: str) -> float:
        """Raises ValueError where ``cell`` is not of the column's kind."""
        if self._origin is None:
            return finite_number(cell)
        try:
            return (datetime.fromisoformat(cell.strip()) - self._origin) / _HOUR
        except TypeError as error:
            raise ValueError(cell) from error

    def show(self, time: float) -> str:
        return f"{time:.10g}" if self._origin is None else (self._origin + timedelta(hours=time)).isoformat(" ")

    def show_step(self, step: float) -> str:
        return f"{step:.6g}" if self._origin is None else f"{step:.6g} h"

    def axis_name(self, column: str) -> str:
        return column if self._origin is None else f"hours since {self.show(0.0)}"


def require_regular(times: Array, lines: array[int], clock: Clock, tolerance: float) -> None:
    """Raises ConfigurationError unless times grow by steps within ``tolerance``, relative, of the median one."""
    steps = np.diff(times)
    if len(steps) == 0:
        return
    if (steps <= 0).any():
        raise ConfigurationError([("csv", _out_of_order(times, lines, clock, int(np.argmax(steps <= 0))))])
    median = float(np.median(steps))
    apart = np.abs(steps - median) > tolerance * median
    if apart.any():
        raise ConfigurationError([("csv", _irregular(times, lines, clock, apart, median, tolerance))])


def _out_of_order(times: Array, lines: array[int], clock: Clock, place: int) -> str:
    before, after = (clock.show(float(time)) for time in times[place : place + 2])
    count = int(np.sum(np.diff(times) <= 0)) - 1
    more = f" (and {count} more such steps)" if count else ""
    if times[place] == times[place + 1]:
        return f"its time {before} stands on lines {lines[place]} and {lines[place + 1]}{more}: keep one row for each time"
    return (
        f"its time goes back from {before} (line {lines[place]}) to {after} (line {lines[place + 1]}){more}: "
        "sort the rows by time"
    )


def _irregular(times: Array, lines: array[int], clock: Clock, apart: np.ndarray, median: float, tolerance: float) -> str:
    place, count = int(np.argmax(apart)), int(apart.sum()) - 1
    start, end = float(times[place]), float(times[place + 1])
    more = f" (and {count} more such steps)" if count else ""
    return (
        f"its time is irregular: from {clock.show(start)} (line {lines[place]}) to {clock.show(end)} (line {lines[place + 1]}) "
        f"it steps by {clock.show_step(end - start)}, and by {clock.show_step(median)} at the median{more}: resample the series "
        f"at regular times, or raise time_tolerance (now {tolerance:g}) if such steps may count as equal"
    )
