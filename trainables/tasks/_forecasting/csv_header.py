"""The header of a CSV file: which columns hold the time and the values."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from trainables.configuration import ConfigurationError
from trainables.tasks._forecasting.csv_times import Clock

_OTHER_SEPARATORS = {";": '";"', "\t": '"\\t"', "|": '"|"', ",": '","'}
_NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Names and places of the time column and the value columns in a row of ``width`` cells."""

    width: int
    time: int
    values: tuple[int, ...]
    names: tuple[str, ...]
    """Of all columns."""

    @property
    def time_name(self) -> str:
        return self.names[self.time]

    @property
    def value_names(self) -> tuple[str, ...]:
        return tuple(self.names[place] for place in self.values)


def find_columns(header: list[str], separator: str, time_column: str | None, value_columns: tuple[str, ...] | None) -> Columns:
    """The columns that are asked for: by default the first one is the time, and the first other one with a name the values.

    Raises:
        ConfigurationError: the header does not have them, or is no header.
    """
    names = tuple(cell.strip() for cell in header)
    _require_header(names, separator)
    if time_column is None and value_columns is None and all(map(_is_datum, names[:2])):
        _refuse_data(names)
    time_name = _first_name(names) if time_column is None else time_column
    if value_columns is None:
        value_columns = tuple(name for name in names if name and name != time_name)[:1]
        if not value_columns:
            _refuse("csv", "names no column but that of the times: name one of values too")
    problems = _problems_with("time_column", time_name, names)
    for name in value_columns:
        problems += _problems_with("value_columns", name, names)
    if len(set(value_columns)) < len(value_columns):
        problems.append(("value_columns", "names a column twice: name each once"))
    if time_name in value_columns:
        problems.append(("value_columns", f"has the time column {time_name!r} among them: take it out, or set time_column"))
    if not value_columns:
        problems.append(("value_columns", "must name a column at least; leave it out for the first one after the time"))
    if problems:
        raise ConfigurationError(problems)
    return Columns(len(names), names.index(time_name), tuple(names.index(name) for name in value_columns), names)


def _require_header(names: tuple[str, ...], separator: str) -> None:
    if all(map(_is_datum, names)):
        _refuse_data(names)
    if len(names) == 1:
        other = next((mark for mark in _OTHER_SEPARATORS if mark != separator and mark in names[0]), None)
        if other is not None:
            split = f"the header {names[0]!r} is one column when split by {separator!r}"
            _refuse("separator", f"{split}: write separator: {_OTHER_SEPARATORS[other]}")
        _refuse("csv", f"its first line is one column, {names[0]!r}: it must name a column of times and at least one of values")
    named = Counter(filter(None, names))
    twice = sorted(name for name, count in named.items() if count > 1)
    if twice:
        _refuse("csv", f"its header has a name more than once ({_listed(tuple(twice))}): give each column a name of its own")


def _problems_with(field: str, name: str, names: tuple[str, ...]) -> list[tuple[str | None, str]]:
    if name in names:
        return []
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.strip().casefold(), folded, 1)
    meant = f"did you mean {folded[close[0]]!r}? " if close else ""
    return [(field, f"the CSV has no column {name!r}; {meant}it has: {_listed(names)}")]


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _first_name(names: tuple[str, ...]) -> str:
    if not names[0]:
        cure = 'name the column of the times, or write time_column: "" where it is this one'
        _refuse("time_column", f"the first column has no name, as row numbers have not: {cure}; it has: {_listed(names)}")
    return names[0]


def _is_datum(text: str) -> bool:
    """Whether it is a number or a time, as cells are and names are not."""
    return Clock.started_by(text) is not None


def _refuse_data(names: tuple[str, ...]) -> None:
    _refuse("csv", f"its first line holds data ({_listed(names)}), not names: put a line such as time,value above it")


def _refuse(field: str, message: str) -> None:
    raise ConfigurationError([(field, message)])
