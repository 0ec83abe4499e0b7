"""The label of a row, however its file writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class NoLabel(ValueError):
    """A row has none: an empty cell, or -1 as hidden test labels are written."""


def label_of(value: Any, labels: Sequence[str], names: Sequence[str] | None = None) -> int:
    """The place among ``labels`` of a cell: the label itself in any case, true or false, or a number counted from 0.

    ``names`` are what the file itself says that its numbers stand for.

    Raises:
        NoLabel: there is none.
        ValueError: it is none of ``labels``; the message says what it is and what they are.
    """
    text = _text(value)
    if text in ("", "-1"):
        raise NoLabel("there is no label")
    if names is not None and text.isdecimal() and int(text) < len(names):
        text = names[int(text)]
    folded = [label.casefold() for label in labels]
    if text.casefold() in folded:
        return folded.index(text.casefold())
    if text.isdecimal() and int(text) < len(labels):
        return int(text)
    raise ValueError(f"{text!r} is no label: write one of {', '.join(labels)}, or its number, from 0 to {len(labels) - 1}")


def _text(value: Any) -> str:
    """Without the decimals that numbers get where a column has gaps."""
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()
