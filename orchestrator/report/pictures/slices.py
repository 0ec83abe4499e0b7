"""The slices of a sweep as small panels with one legend: a colour an entry, its best trial marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData
from orchestrator.report.pictures.legend import entry_styles, legend_below, legend_inches, listed
from orchestrator.report.pictures.ticks import readable_ticks
from orchestrator.report.slices import WIDE_LOSS, Point, Slice, baseline, completed, is_wide, slices, worst_shown
from trainables.exhibits.canvas import label_axes, new_figure, plain_style, save_figure

_PANELS_A_LINE = 4
_BEST = {"s": 75, "facecolors": "none", "edgecolors": "black", "linewidths": 1.1, "zorder": 4}


def draw_slices(data: SweepData, path: Path) -> bool:
    """Draws them into a PNG; False where there are none yet."""
    figure = slices_figure(data)
    if figure is None:
        return False
    save_figure(figure, path)
    return True


def slices_figure(data: SweepData) -> Any | None:
    panels = slices(data)
    if not panels:
        return None
    columns = min(len(panels), _PANELS_A_LINE)
    lines = -(-len(panels) // columns)
    width = max(5.0, 0.7 + 2.7 * columns)
    level = baseline(data, completed(data))
    styles = entry_styles(entry.name for entry in data.specification.entries)
    handles = _handles(panels, styles, level)
    figure = new_figure(width, 0.8 + 2.3 * lines + legend_inches([handle.get_label() for handle in handles], width))
    all_axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    mode = data.specification.objective.mode
    # Where nothing is trained, no trial went badly: what lies far out is what was asked for.
    end = _end(panels, mode, level) if data.specification.task_type.trains else None
    _scale_values(all_axes[0][0], mode, _values(panels), end)
    for index, axes in enumerate(all_axes.flat):
        if index >= len(panels):
            axes.set_axis_off()
            continue
        _draw_panel(axes, panels[index], styles, mode, level)
        _draw_outside(axes, panels[index], styles, mode, end)
        label_axes(axes, panels[index].label, data.specification.objective.metric if index % columns == 0 else "")
    legend_below(figure, handles, width)
    figure.suptitle(f"{data.name}: completed trials{_told_outside(panels, mode, end)}", fontsize=10, x=0.01, ha="left")
    return figure


def _values(panels: list[Slice]) -> list[float]:
    return [point.y for panel in panels for point in panel.points]


def _end(panels: list[Slice], mode: str, level: tuple[str, float] | None) -> float | None:
    """Where the shared axis ends if a few bad trials would squash the others: behind every entry's best, and the baseline."""
    trials = {point.trial: point for panel in panels for point in panel.points}
    bests = [_best([point for point in trials.values() if point.entry == entry], mode).y for entry in _entries(panels)]
    levels = [] if level is None else [level[1]]
    return worst_shown([point.y for point in trials.values()], mode, bests + levels)


def _entries(panels: list[Slice]) -> set[str]:
    return {point.entry for panel in panels for point in panel.points}


def _is_outside(point: Point, mode: str, end: float | None) -> bool:
    return end is not None and (point.y < end if mode == "max" else point.y > end)


def _draw_outside(axes: Any, panel: Slice, styles: dict[str, dict[str, Any]], mode: str, end: float | None) -> None:
    """Trials beyond the axis as triangles at its end."""
    for point in panel.points:
        if _is_outside(point, mode, end):
            look: dict[str, Any] = {"marker": "v" if mode == "max" else "^", "s": 22, "alpha": 0.75, "linewidths": 0}
            axes.scatter([point.x], [end], color=styles[point.entry]["color"], clip_on=False, zorder=5, **look)


def _told_outside(panels: list[Slice], mode: str, end: float | None) -> str:
    count = len({point.trial for panel in panels for point in panel.points if _is_outside(point, mode, end)})
    return f"; triangles: {count} beyond the axis" if count else ""


def _draw_panel(axes: Any, panel: Slice, styles: dict[str, dict[str, Any]], mode: str, level: tuple[str, float] | None) -> None:
    if level is not None:
        axes.axhline(level[1], color="0.5", linewidth=0.9, linestyle="--", zorder=1)
    for entry, style in styles.items():
        points = [point for point in panel.points if point.entry == entry]
        if points:
            look = {"color": style["color"], "marker": style["marker"], "s": 20, "alpha": 0.75, "linewidths": 0}
            axes.scatter([point.x for point in points], [point.y for point in points], **look)
            best = _best(points, mode)
            axes.scatter([best.x], [best.y], **_BEST)
    if panel.log:
        axes.set_xscale("log")
    plain_style(axes)
    readable_ticks(axes.xaxis, [point.x for point in panel.points], panel.log)


def _scale_values(axes: Any, mode: str, values: list[float], end: float | None) -> None:
    """The axis of the objective, which all panels share."""
    if end is not None:
        best = max(values) if mode == "max" else min(values)
        values = [value for value in values if (value >= end if mode == "max" else value <= end)]
        axes.set_ylim(*sorted((best + 0.06 * (best - end), end)))
    if mode == "min" and is_wide(values, WIDE_LOSS):
        axes.set_yscale("log")
        readable_ticks(axes.yaxis, values, log=True)


def _best(points: list[Point], mode: str) -> Point:
    return (max if mode == "max" else min)(points, key=lambda point: point.y)


def _handles(panels: list[Slice], styles: dict[str, dict[str, Any]], level: tuple[str, float] | None) -> list[Any]:
    """What the legend names: the entries, the ring around the best trial of each, and the baseline."""
    from matplotlib.lines import Line2D

    shown = {point.entry for panel in panels for point in panel.points}
    dots: dict[str, Any] = {"linestyle": "none", "markersize": 5}
    nothing: dict[str, Any] = {"marker": ""}
    names = listed([name for name in styles if name in shown])
    lines = [Line2D([], [], label=name, **{**styles.get(name, nothing), **dots}) for name in names]
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "black", "linestyle": "none", "markersize": 8}
    lines.append(Line2D([], [], label="best of its entry", marker="o", **ring))
    if level is not None:
        lines.append(Line2D([], [], label=f"{level[0]} {level[1]:.3g}", color="0.5", linestyle="--", linewidth=0.9))
    return lines
