"""The parts of a dataset in a local folder: a dataset of `save_to_disk`, or files of JSON lines or comma-separated values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.configuration import ConfigurationError
from trainables.tasks._language.hub_dataset import is_saved_dataset

_ENDINGS = (".jsonl", ".csv")


@dataclass(frozen=True)
class Part:
    """Rows, read one by one, each a mapping of columns."""

    name: str
    """As messages name it."""
    rows: Iterable[Mapping[str, Any]]
    label_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of columns of numbers what these stand for, where the file says it."""


def open_part(home: Path, names: Sequence[str]) -> Part:
    """The first of ``names`` that the folder ``home`` has as a dataset or a file.

    Raises:
        ConfigurationError: it has none, has one twice, or it cannot be read; of the field ``data``.
    """
    if is_saved_dataset(home):
        return _saved(home, names)
    for name in names:
        found = [path for path in (home / name, *(home / f"{name}{ending}" for ending in _ENDINGS)) if path.exists()]
        if len(found) > 1:
            raise _problem(f"{home.name} has {' and '.join(path.name for path in found)}: keep one of them")
        if found:
            return _opened(found[0])
    wanted = " or ".join(names)
    raise _problem(f"{home.name} has no part called {wanted}: give it {names[0]}.jsonl, {names[0]}.csv or a saved dataset")


def _opened(path: Path) -> Part:
    if path.suffix == ".jsonl":
        return Part(path.name, _json_rows(path))
    if path.suffix == ".csv":
        return Part(path.name, _csv_rows(path))
    return _as_part(path.name, _load(path))


def _saved(home: Path, names: Sequence[str]) -> Part:
    loaded = _load(home)
    has = list(loaded) if isinstance(loaded, Mapping) else []
    name = next((name for name in names if name in has), None)
    if name is None:
        held = f"parts {', '.join(has)}" if has else "no parts"
        raise _problem(f"the dataset {home.name} has {held}, and none called {' or '.join(names)}: save one with parts by name")
    return _as_part(name, loaded[name])


def _as_part(name: str, dataset: Any) -> Part:
    if isinstance(dataset, Mapping):
        raise _problem(f"{name} holds several datasets: save one there, or all parts in the folder above it")
    features = {column: getattr(feature, "names", None) for column, feature in dataset.features.items()}
    return Part(name, dataset, {column: names for column, names in features.items() if names})


def _load(folder: Path) -> Any:
    try:
        from datasets import load_from_disk
    except ImportError:
        message = "datasets of `save_to_disk` need the library `datasets`: pip install 'memsweep[hf]', or use .jsonl files"
        raise _problem(message) from None
    try:
        return load_from_disk(str(folder))
    except Exception as error:  # whatever the library makes of damaged files
        raise _problem(f"{folder.name} cannot be read as a dataset of `save_to_disk`: {error}") from error


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _problem(
                f"{path.parent.name}, {path.name}, line {number} is no JSON ({error}): write an object a line"
            ) from None
        if not isinstance(row, dict):
            raise _problem(f"{path.parent.name}, {path.name}, line {number} is no JSON object: write one, of columns")
        yield row


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Cells of the column ``options`` are JSON."""
    rows = csv.DictReader(_lines(path), strict=True)
    for row in _told_where_broken(rows, path):
        cells = {column: cell for column, cell in row.items() if column is not None}
        if "options" in cells:
            cells["options"] = _json_cell(cells["options"])
        yield cells


def _told_where_broken(rows: csv.DictReader[str], path: Path) -> Iterator[dict[str | Any, str | Any]]:
    try:
        yield from rows
    except csv.Error as error:
        where = f"{path.parent.name}, {path.name}, line {rows.line_num}"
        raise _problem(f"{where} cannot be read as comma-separated values ({error}): close its quotes, or use .jsonl") from None


def _json_cell(cell: Any) -> Any:
    try:
        return json.loads(cell)
    except (TypeError, ValueError):
        return cell


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError as error:
        cure = "convert it, e.g. with iconv -t UTF-8"
        raise _problem(f"{path.parent.name}, {path.name} is not UTF-8 text: {cure}") from error
    except OSError as error:
        raise _problem(f"{path.parent.name}, {path.name} cannot be read: {error.strerror}") from error


def _problem(message: str) -> ConfigurationError:
    return ConfigurationError([("data", message)])
