"""Where pictures are drawn: a figure without a window, one palette and one style; matplotlib is imported when one is drawn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

DOTS_PER_INCH = 110


def can_draw() -> bool:
    """Whether matplotlib is installed; a worker does without it."""
    return find_spec("matplotlib") is not None


def preload_canvas() -> None:
    """Imports matplotlib where it is installed, some 60 MiB that stay in the process."""
    if can_draw():
        new_figure(1, 1)


def new_figure(width: float, height: float) -> Any:
    """A ``matplotlib.figure.Figure`` of this size in inches, drawn into memory: no display, no state shared with others."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_style(axes: Any) -> None:
    """A frame of two sides, a faint grid, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.2, linewidth=0.5)


def save_figure(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=DOTS_PER_INCH)


def label_axes(axes: Any, x: str = "", y: str = "") -> None:
    """Labels that are shown as they are: a name of a column may hold what matplotlib would take for a formula."""
    axes.set_xlabel(x, fontsize=9, parse_math=False)
    axes.set_ylabel(y, fontsize=9, parse_math=False)
