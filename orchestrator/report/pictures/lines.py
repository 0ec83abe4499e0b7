"""Panels of lines, one a row of a report: against the length of sequences, and along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.report.cells import PEAKS
from orchestrator.report.pictures.legend import entry_styles, legend_below, legend_inches, listed
from orchestrator.report.pictures.ticks import readable_ticks
from orchestrator.report.slices import WIDE_LOSS, is_wide
from trainables.exhibits.canvas import label_axes, new_figure, plain_style

Styles = dict[str, dict[str, Any]]

_UNITS = {"loss": "nats", "perplexity": "perplexity", "mib": "MiB"}
_DOUBLINGS_FROM = 8
"""Lengths that span this factor were doubled, and stand at equal distances."""
_MOST_TICKS = 8


def styles_of(rows: Sequence[str]) -> Styles:
    """The look of each row's line: a colour, and where those are used up other markers and dashes."""
    return {row: {"markersize": 3.5, "linewidth": 1.3, **style} for row, style in entry_styles(rows).items()}


def panels_figure(title: str, count: int, styles: Styles, more: Sequence[Any] = ()) -> tuple[Any, list[Any]]:
    """A figure with panels beside each other and room for the legend below, which is drawn; ``more`` are further lines of it."""
    from matplotlib.lines import Line2D

    nothing: dict[str, Any] = {"linestyle": "none"}
    handles = [Line2D([], [], label=name, **styles.get(name, nothing)) for name in listed(list(styles))] + list(more)
    width = 6.4 if count == 1 else 4.6 * count
    figure = new_figure(width, 3.7 + legend_inches([str(handle.get_label()) for handle in handles], width))
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    legend_below(figure, handles, width)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure, axes


def finish_panel(axes: Any, x: str, y: str, values: Sequence[float]) -> None:
    """Labels, and a logarithmic scale for values far apart."""
    if is_wide(values, WIDE_LOSS):
        axes.set_yscale("log")
    plain_style(axes)
    readable_ticks(axes.yaxis, values, log=axes.get_yscale() == "log")
    label_axes(axes, x, y)


def scale_lengths(axes: Any, lengths: Sequence[float]) -> None:
    """Ticks at the lengths themselves, by doublings where they span so many."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    distinct = sorted(set(lengths))
    if distinct[0] > 0 and distinct[-1] >= _DOUBLINGS_FROM * distinct[0]:
        axes.set_xscale("log", base=2)
    step = -(-len(distinct) // _MOST_TICKS)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(distinct[::-step][::-1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))


def with_unit(metric: str) -> str:
    """``val/loss (nats)``, ``peak host MiB``; a metric whose name is its unit, or has none, as it is."""
    if metric in PEAKS:
        return PEAKS[metric]
    words = metric.replace("/", "_").split("_")
    unit = next((unit for word, unit in _UNITS.items() if word in words), None)
    return metric if unit is None or unit in words else f"{metric} ({unit})"
