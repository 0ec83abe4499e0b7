"""A series from a CSV file; every fault of the file is told with its line, its column and the cure."""

from __future__ import annotations

import contextlib
import csv
import functools
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainables.configuration import ConfigurationError
from trainables.files import split_reference
from trainables.tasks._forecasting.csv_header import Columns, find_columns
from trainables.tasks._forecasting.csv_times import Clock, finite_number, require_regular
from trainables.tasks._forecasting.series import Series

_EXAMPLES = 3
"""Faults of a kind that are shown one by one."""
_LONGEST_CELL = 40
_MISSING = {"", "na", "n/a", "nan", "null", "none", "-", "?"}


@dataclass(frozen=True, slots=True)
class CsvSource:
    """What of a CSV file is read, and how."""

    path: Path
    separator: str = ","
    time_column: str | None = None
    value_columns: tuple[str, ...] | None = None
    time_tolerance: float = 0.01


def read_csv_series(source: CsvSource) -> Series:
    """The series; UTF-8 with or without a byte order mark, any line ends, quoted cells; rows of empty cells are skipped.

    Raises:
        ConfigurationError: whatever is wrong with the file or its columns. Faults of different kinds are told together, of
            each kind the first three; what only follows from a fault is not told.
    """
    try:
        status = source.path.stat()
    except OSError as error:
        raise _unreadable(source.path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError([("csv", f"{source.path.name!r} is not a file: name the CSV itself")])
    return _read_version(source, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2)
def _read_version(source: CsvSource, modified: int, size: int) -> Series:
    """Kept, since a search space with many windows on one file looks at it again for each of them."""
    if len(source.separator) != 1 or source.separator in '"\r\n':
        raise ConfigurationError([("separator", f'must be one character, such as ",", ";" or "\\t", got {source.separator!r}')])
    try:
        with source.path.open(newline="", encoding="utf-8-sig") as file:
            return _read_lines(source, csv.reader(file, delimiter=source.separator, skipinitialspace=True, strict=True))
    except UnicodeDecodeError as error:
        message = f"{source.path.name} is not UTF-8 text: save it as CSV in UTF-8 (export a spreadsheet, unpack an archive)"
        raise ConfigurationError([("csv", message)]) from error
    except OSError as error:
        raise _unreadable(source.path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    name = Path(split_reference(path.name)[0]).name
    if isinstance(error, FileNotFoundError):
        return ConfigurationError(
            [("csv", f"there is no file {name!r}: correct the path, which is relative to the search space")]
        )
    return ConfigurationError([("csv", f"{name!r} cannot be read: {error.strerror or error}")])


def _read_lines(source: CsvSource, reader: Any) -> Series:
    rows = _rows(reader)
    header = next(rows, None)
    if header is None:
        raise ConfigurationError([("csv", f"{source.path.name} is empty: a header and rows are needed")])
    if any("\0" in cell for cell in header):
        raise ConfigurationError([("csv", f"{source.path.name} is not a text file: save it as CSV in UTF-8")])
    columns = find_columns(header, source.separator, source.time_column, source.value_columns)
    table = _Table(columns, source.separator)
    for row in rows:
        table.add(row, reader.line_num)
    table.require_sound()
    if table.clock is None:
        raise ConfigurationError([("csv", f"{source.path.name} has a header and no rows: add the series")])
    return table.series(source.time_tolerance)


def _rows(reader: Any) -> Iterator[list[str]]:
    """Without blank lines, also those that a spreadsheet fills up with separators."""
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            message = f"line {reader.line_num} cannot be split into cells ({error}): look for a quote that is never closed"
            raise ConfigurationError([("csv", message)]) from error
        if any(map(str.strip, row)):
            yield row


@dataclass(slots=True)
class _Fault:
    """Faults of one kind."""

    what: str
    cure: str
    examples: list[str] = field(default_factory=list)
    count: int = 0

    def note(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)

    def __str__(self) -> str:
        more = f" and {self.count - _EXAMPLES} more" if self.count > _EXAMPLES else ""
        return f"{self.what}: {', '.join(self.examples)}{more}: {self.cure}"


class _Table:
    """The rows that have been read, as 8 bytes a number, and what was wrong with the others."""

    def __init__(self, columns: Columns, separator: str) -> None:
        self.clock: Clock | None = None
        self._columns = columns
        self._times, self._values, self._lines = array("d"), array("d"), array("q")
        self._missing = _Fault("has missing values", "fill the gaps, since a row that is left out makes the time irregular")
        self._wrong_values = _Fault("has values that are no finite numbers", "write numbers such as 12.5 or 1e-3")
        self._wrong_times = _Fault("has unreadable times", "")
        self._lengths = _Fault(
            f"has rows that do not have {columns.width} cells, as the header has",
            f"remove what is too much, complete what is missing, and quote cells that hold {separator!r}",
        )

    def add(self, row: list[str], line: int) -> None:
        columns = self._columns
        if len(row) != columns.width:
            self._lengths.note(f"line {line} has {len(row)}")
            return
        self.clock = self.clock or Clock.started_by(row[columns.time])
        try:
            time = _time(row[columns.time], self.clock)
            values = [finite_number(row[place]) for place in columns.values]
        except ValueError:
            self._note_faults(row, line)
            return
        self._times.append(time)
        self._values.extend(values)
        self._lines.append(line)

    def require_sound(self) -> None:
        self._wrong_times.cure = f"write {self.clock.wanted if self.clock else 'finite numbers or ISO 8601 timestamps'}"
        found = [fault for fault in (self._lengths, self._missing, self._wrong_times, self._wrong_values) if fault.count]
        if found:
            raise ConfigurationError([("csv", str(fault)) for fault in found])

    def series(self, tolerance: float) -> Series:
        assert self.clock is not None
        times, columns = np.array(self._times), self._columns
        require_regular(times, self._lines, self.clock, tolerance)
        values = np.array(self._values).reshape(len(times), len(columns.values))
        return Series(times, values, self.clock.axis_name(columns.time_name), columns.value_names)

    def _note_faults(self, row: list[str], line: int) -> None:
        columns = self._columns
        for place in (columns.time, *columns.values):
            cell, is_time = row[place], place == columns.time
            with contextlib.suppress(ValueError):
                _time(cell, self.clock) if is_time else finite_number(cell)
                continue
            shown = f"line {line}, column {columns.names[place]!r}: {_shown(cell)}"
            if cell.strip().casefold() in _MISSING:
                self._missing.note(shown)
            else:
                (self._wrong_times if is_time else self._wrong_values).note(shown)


def _time(cell: str, clock: Clock | None) -> float:
    if clock is None:
        raise ValueError(cell)
    return clock.read(cell)


def _shown(cell: str) -> str:
    return "empty" if not cell.strip() else repr(cell if len(cell) <= _LONGEST_CELL else f"{cell[:_LONGEST_CELL]}…")
