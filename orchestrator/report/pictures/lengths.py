"""Metrics against the length of sequences: a panel a metric, a line a row; of memory also what it is beyond its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData
from orchestrator.report.length_table import baseline_name
from orchestrator.report.lengths import LengthMetrics, LengthRow, length_metrics, length_rows, lengths_of
from orchestrator.report.pictures.lines import Styles, finish_panel, panels_figure, scale_lengths, styles_of, with_unit
from trainables.exhibits.canvas import save_figure

_MOST_BASELINES = 6
"""Rows up to which each has its baseline drawn; more of them would be a thicket."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """The first metric that is measured at a length."""

    field: str
    metric: str
    baseline: str | None
    """What rows are compared with, where a row has it."""
    beyond: bool = False
    """Whether it shows the difference from the baseline: of models that differ in size, how each grows."""

    @property
    def label(self) -> str:
        beyond = f" beyond {baseline_name(self.metric, self.baseline)}" if self.beyond and self.baseline else ""
        return with_unit(self.metric) + beyond


def draw_lengths(data: SweepData, path: Path) -> bool:
    """Draws them into a PNG; False where no row was measured at two lengths."""
    figure = lengths_figure(data)
    if figure is None:
        return False
    save_figure(figure, path)
    return True


def lengths_figure(data: SweepData) -> Any | None:
    rows = length_rows(data)
    panels = _panels(rows, length_metrics(data, rows))
    if not panels:
        return None
    styles = styles_of([row.label for row in rows])
    figure, all_axes = panels_figure(f"{data.name}: by length", len(panels), styles, _baseline_handles(panels, rows))
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel, rows, styles)
    return figure


def _panels(rows: Sequence[LengthRow], metrics: LengthMetrics) -> list[Panel]:
    found = []
    for field, shown in metrics.by_field.items():
        known = metrics.baselines.get(shown[0])
        measured = known is not None and any(_measured(row, field, known) for row in rows)
        panel = Panel(field, shown[0], known if measured else None)
        found += [panel, replace(panel, beyond=True)] if measured and panel.metric.endswith("_mib") else [panel]
    return [panel for panel in found if any(len(_points(row, panel)) > 1 for row in rows)]


def _draw_panel(axes: Any, panel: Panel, rows: Sequence[LengthRow], styles: Styles) -> None:
    points = {row.label: _points(row, panel) for row in rows}
    for label, found in points.items():
        axes.plot(*_columns(found), **styles[label])
    baselines = _baselines(panel, rows)
    for label, found in baselines.items():
        axes.plot(*_columns(found), color=styles[label]["color"], linestyle="--", linewidth=0.8, alpha=0.7, zorder=1)
    everything = [point for found in (*points.values(), *baselines.values()) for point in found]
    scale_lengths(axes, [x for x, _ in everything])
    finish_panel(axes, _length_label(panel.field), panel.label, [y for _, y in everything])


def _length_label(field: str) -> str:
    words = field.replace("_", " ").removeprefix("n ")
    return words if words == "tokens" else f"{words} (tokens)"


def _baselines(panel: Panel, rows: Sequence[LengthRow]) -> dict[str, Points]:
    if panel.baseline is None or panel.beyond or len(rows) > _MOST_BASELINES:
        return {}
    return {row.label: found for row in rows if (found := _measured(row, panel.field, panel.baseline))}


def _baseline_handles(panels: Sequence[Panel], rows: Sequence[LengthRow]) -> list[Any]:
    from matplotlib.lines import Line2D

    drawn = [panel for panel in panels if _baselines(panel, rows)]
    names = dict.fromkeys(baseline_name(panel.metric, panel.baseline) for panel in drawn if panel.baseline)
    return [Line2D([], [], label=name, color="0.5", linestyle="--", linewidth=0.8) for name in names]


def _points(row: LengthRow, panel: Panel) -> Points:
    found = _measured(row, panel.field, panel.metric)
    if not panel.beyond or panel.baseline is None:
        return found
    baseline = dict(_measured(row, panel.field, panel.baseline))
    return [(tokens, value - baseline[tokens]) for tokens, value in found if tokens in baseline]


def _measured(row: LengthRow, field: str, metric: str) -> Points:
    """Tokens and value, the shortest first."""
    lengths = lengths_of([row], LengthMetrics({field: (metric,)}, {}))
    known = [(float(length.tokens), row.trials[length].metric(metric)) for length in lengths]
    return [(tokens, value) for tokens, value in known if value is not None]


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
