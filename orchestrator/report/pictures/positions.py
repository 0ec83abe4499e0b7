"""Metrics along the sequence: a panel a metric, a line a row, the best row bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData
from orchestrator.report.pictures.lines import Styles, finish_panel, panels_figure, styles_of, with_unit
from orchestrator.report.positions import PositionCurve, position_curves
from trainables.exhibits.canvas import save_figure

_TICKS = 4
_MOST_MARKERS = 20
_FEW = 8
"""Rows up to which all have full colour."""


def draw_positions(data: SweepData, path: Path) -> bool:
    """Draws them into a PNG; False where nothing was measured by position."""
    figure = positions_figure(data)
    if figure is None:
        return False
    save_figure(figure, path)
    return True


def positions_figure(data: SweepData) -> Any | None:
    measured = {metric: position_curves(data, metric) for metric in data.specification.task_type.position_metrics}
    panels = {metric: curves for metric, curves in measured.items() if curves}
    if not panels:
        return None
    styles = _styles(panels)
    figure, all_axes = panels_figure(f"{data.name}: along the sequence, the best trial of each row", len(panels), styles)
    for axes, (metric, curves) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, metric, curves, styles)
    return figure


def _draw_panel(axes: Any, metric: str, curves: Sequence[PositionCurve], styles: Styles) -> None:
    for curve in curves:
        ends, values = zip(*curve.points, strict=True)
        axes.plot(ends, values, markevery=max(1, len(ends) // _MOST_MARKERS), **styles[curve.row])
    finish_panel(axes, "position (tokens)", with_unit(metric), [value for curve in curves for _, value in curve.points])
    _mark_positions(axes, max(end for curve in curves for end, _ in curve.points))


def _mark_positions(axes: Any, longest: float) -> None:
    """Ticks at the fourths of the longest sequence: lengths are powers of two rather than of ten."""
    from matplotlib.ticker import FixedLocator

    axes.set_xlim(0, 1.02 * longest)
    axes.xaxis.set_major_locator(FixedLocator([longest * part / _TICKS for part in range(_TICKS + 1)]))


def _styles(panels: Mapping[str, Sequence[PositionCurve]]) -> Styles:
    """Rows in their order, the best first; where there are many, the others fade behind it."""
    rows = list(dict.fromkeys(curve.row for curves in panels.values() for curve in curves))
    styles = {row: {**style, "markersize": 2.5, "linewidth": 1.0} for row, style in styles_of(rows).items()}
    for style in list(styles.values())[1:] if len(rows) > _FEW else []:
        style["alpha"] = 0.6
    styles[rows[0]] |= {"linewidth": 2.4, "zorder": 3}
    return styles
