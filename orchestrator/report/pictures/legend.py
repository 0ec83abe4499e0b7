"""How entries look in pictures, and the one legend that is shared by all panels of a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from trainables.exhibits.canvas import COLOURS

MOST_LISTED = 24
"""Entries that a legend names; grids make hundreds."""

_MARKERS = "os^Dvp"
_LINES = ("-", "--", ":", "-.")
_CHARACTERS_AN_INCH = 13
_HANDLE_CHARACTERS = 6
_LINE_INCHES = 0.19


def entry_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour for each in their order; where there are more than colours, other markers and other lines."""
    size = len(COLOURS)
    return {
        name: {
            "color": COLOURS[index % size],
            "marker": _MARKERS[index // size % len(_MARKERS)],
            "linestyle": _LINES[index // size % len(_LINES)],
        }
        for index, name in enumerate(names)
    }


def listed(names: Sequence[str]) -> list[str]:
    """Those that a legend names, with a last line that counts the others."""
    more = len(names) - MOST_LISTED
    return [*names[:MOST_LISTED], *([f"and {more} more"] if more > 0 else [])]


def legend_inches(labels: Sequence[str], width: float) -> float:
    """The height that :func:`legend_below` needs under a figure of this width."""
    return _LINE_INCHES * math.ceil(len(labels) / _columns(labels, width))


def legend_below(figure: Any, handles: Sequence[Any], width: float) -> None:
    """Of lines with their labels, in as many columns as fit the width in inches."""
    columns = _columns([str(handle.get_label()) for handle in handles], width)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _columns(labels: Sequence[str], width: float) -> int:
    longest = max(map(len, labels))
    return max(1, min(len(labels), int(width * _CHARACTERS_AN_INCH / (longest + _HANDLE_CHARACTERS))))
