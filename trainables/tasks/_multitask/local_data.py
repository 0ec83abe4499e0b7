"""Rows of public datasets from a local folder: a folder for each task, in it a part for training and one for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trainables.configuration import ConfigurationError
from trainables.tasks._multitask.datasets import DATASETS, Dataset, Example, Examples
from trainables.tasks._multitask.labels import NoLabel, label_of
from trainables.tasks._multitask.parts import Part, open_part


def local_examples(name: str, folder: Path, train: int, validation: int) -> Examples:
    """The first ``train`` and ``validation`` rows of a task in ``folder / name``.

    Raises:
        ConfigurationError: of the field ``data``, with the part, the row and the cure.
    """
    dataset = DATASETS[name]
    home = folder / name
    _require(home.is_dir(), f"there is no folder {name} in {folder.name}: put the rows of {name} there, or leave it out of tasks")
    trained = _Rows(dataset, open_part(home, ("train",)))
    evaluated = _Rows(dataset, open_part(home, dataset.evaluated))
    made = [list(islice(rows.examples(), count)) for rows, count in ((trained, train), (evaluated, validation))]
    for rows, examples in zip((trained, evaluated), made, strict=True):
        _require(len(examples) > 0, f"{rows.place} has no rows: give it some, or leave {name} out of tasks")
    return Examples(made[0], made[1], dropped=trained.dropped + evaluated.dropped)


@dataclass
class _Rows:
    """The rows of one part; ``dropped`` counts those without text that were passed over."""

    dataset: Dataset
    part: Part
    dropped: int = 0

    @property
    def place(self) -> str:
        return f"{self.dataset.name}, {self.part.name}"

    def examples(self) -> Iterator[Example]:
        """One by one, so that no more is read than is wanted."""
        for number, row in enumerate(self.part.rows, 1):
            where = f"{self.place}, row {number}"
            texts = {column: self._cell(row, column, where) for column in self.dataset.texts}
            if self.dataset.drops_empty and not all(map(_has_text, texts.values())):
                self.dropped += 1
                continue
            for column, text in texts.items():
                _require(_has_text(text), f"{where} has no {column}: fill it in, or remove the row")
            yield Example(self.dataset.prompt(texts), self._label(row, where))

    def _cell(self, row: Mapping[str, Any], column: str, where: str) -> Any:
        has = ", ".join(row) or "none"
        _require(column in row, f"{where} has no column {column}, it has {has}: use the columns of the public dataset")
        return _options(row[column], where) if column == "options" else _text(row[column], column, where)

    def _label(self, row: Mapping[str, Any], where: str) -> int:
        columns = self.dataset.label_columns
        column = next((name for name in columns if name in row), None)
        _require(column is not None, f"{where} has no column {' or '.join(columns)}: use the columns of the public dataset")
        try:
            return label_of(row[str(column)], self.dataset.labels, self.part.label_names.get(str(column)))
        except NoLabel:
            raise _problem(f"{where} has no label (column {column}): fill it in, or remove the row") from None
        except ValueError as error:
            raise _problem(f"{where}, column {column}: {error}") from None


def _has_text(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else bool(value)


def _text(value: Any, column: str, where: str) -> str:
    if value is None or value != value:  # of a missing cell some readers make NaN
        return ""
    _require(isinstance(value, str), f"{where}: {column} is no text but {type(value).__name__}: write text there")
    return str(value)


def _options(value: Any, where: str) -> Sequence[str]:
    fits = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4 and all(map(_is_text, value))
    _require(fits, f"{where}: options is no list of four texts: write one, in a .csv as JSON")
    return list(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _problem(message)


def _problem(message: str) -> ConfigurationError:
    return ConfigurationError([("data", message)])
