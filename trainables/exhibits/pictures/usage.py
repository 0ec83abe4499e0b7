"""How evenly codebooks are used: the share of positions of each row, the most chosen row first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainables.exhibits.canvas import COLOURS, label_axes, new_figure, plain_style, save_figure

MOST_NAMED = 6
"""Codebooks that are named one by one; of more, lines of one colour show how they lie."""

_MOST_LISTED = 3
"""A title has no place for more."""


def draw_codebook_usage(selections: Sequence[np.ndarray], path: Path) -> None:
    """A PNG with a line for each codebook; ``selections`` are counts, (V,) each."""
    save_figure(usage_figure(selections), path)


def usage_figure(selections: Sequence[np.ndarray]) -> Any:
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    draw_usage(axes, selections)
    label_axes(axes, "rank of the row in its codebook", "share of positions that choose it")
    axes.set_title(f"use of the codebook{'s' if len(selections) > 1 else ''}: {rows_used(selections)}", fontsize=9, loc="left")
    if 1 < len(selections) <= MOST_NAMED:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def draw_usage(axes: Any, selections: Sequence[np.ndarray]) -> None:
    """Lines over the ranks of the rows that were chosen at all; up to :data:`MOST_NAMED` have a colour and a label each."""
    named = len(selections) <= MOST_NAMED
    for index, counts in enumerate(selections):
        shares = _shares(counts)
        style = {"color": COLOURS[index], "linewidth": 1.3} if named else {"color": COLOURS[0], "linewidth": 0.8, "alpha": 0.5}
        axes.plot(np.arange(1, len(shares) + 1), shares, marker=".", markersize=4, label=codebook_name(index), **style)
    axes.set_yscale("log")
    if max(map(np.count_nonzero, selections)) > 64:
        axes.set_xscale("log")
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0.7 * lowest_decade(selections), 1.3)
    axes.minorticks_off()  # they take most of the time that a small panel needs
    plain_style(axes)


def lowest_decade(selections: Sequence[np.ndarray]) -> float:
    """The power of ten below the smallest share, at most 0.1, so that an axis of shares always has two powers to read it by."""
    smallest = min((float(_shares(counts)[-1]) for counts in selections if counts.any()), default=1.0)
    return float(min(0.1, 10 ** np.floor(np.log10(smallest))))


def codebook_name(index: int) -> str:
    return f"codebook {index + 1}"


def rows_used(selections: Sequence[np.ndarray]) -> str:
    """``28 of 32 + 102 of 128 rows used``; of many codebooks their sum."""
    used = [(int(np.count_nonzero(counts)), len(counts)) for counts in selections]
    if len(used) > _MOST_LISTED:
        return f"{sum(n for n, _ in used):,} of {sum(rows for _, rows in used):,} rows of {len(used)} codebooks used"
    return " + ".join(f"{n:,} of {rows:,}" for n, rows in used) + " rows used"


def _shares(counts: np.ndarray) -> np.ndarray:
    """Descending shares of the rows that were chosen."""
    chosen = np.sort(counts[counts > 0])[::-1].astype(float)
    return np.asarray(chosen / chosen.sum())
