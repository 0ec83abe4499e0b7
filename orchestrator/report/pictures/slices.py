"""The slices of a sweep as small panels with one legend: a colour an entry, its best trial marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData
from orchestrator.report.pictures.ticks import readable_ticks
from orchestrator.report.slices import WIDE_LOSS, Point, Slice, baseline, completed, is_wide, slices
from trainables.exhibits.canvas import COLOURS, label_axes, new_figure, plain_style, save_figure

_MARKERS = "os^Dvp"
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
    figure = new_figure(width, 1.0 + 2.3 * lines)
    all_axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    level = baseline(data, completed(data))
    styles = _styles(data)
    _scale_values(all_axes[0][0], data.specification.objective.mode, [point.y for panel in panels for point in panel.points])
    for index, axes in enumerate(all_axes.flat):
        if index >= len(panels):
            axes.set_axis_off()
            continue
        _draw_panel(axes, panels[index], styles, data.specification.objective.mode, level)
        label_axes(axes, panels[index].label, data.specification.objective.metric if index % columns == 0 else "")
    _legend(figure, panels, styles, level, width)
    figure.suptitle(f"{data.name}: completed trials", fontsize=10, x=0.01, ha="left")
    return figure


def _draw_panel(axes: Any, panel: Slice, styles: dict[str, dict[str, Any]], mode: str, level: tuple[str, float] | None) -> None:
    if level is not None:
        axes.axhline(level[1], color="0.5", linewidth=0.9, linestyle="--", zorder=1)
    for entry, style in styles.items():
        points = [point for point in panel.points if point.entry == entry]
        if points:
            axes.scatter([point.x for point in points], [point.y for point in points], s=20, alpha=0.75, linewidths=0, **style)
            best = _best(points, mode)
            axes.scatter([best.x], [best.y], **_BEST)
    if panel.log:
        axes.set_xscale("log")
    plain_style(axes)
    readable_ticks(axes.xaxis, [point.x for point in panel.points], panel.log)


def _scale_values(axes: Any, mode: str, values: list[float]) -> None:
    """The axis of the objective, which all panels share."""
    if mode == "min" and is_wide(values, WIDE_LOSS):
        axes.set_yscale("log")
        readable_ticks(axes.yaxis, values, log=True)


def _best(points: list[Point], mode: str) -> Point:
    return (max if mode == "max" else min)(points, key=lambda point: point.y)


def _styles(data: SweepData) -> dict[str, dict[str, Any]]:
    """A colour for each entry, in the order of the space; where there are more than colours, other markers."""
    names = [entry.name for entry in data.specification.entries]
    size = len(COLOURS)
    return {
        name: {"color": COLOURS[index % size], "marker": _MARKERS[index // size % len(_MARKERS)]}
        for index, name in enumerate(names)
    }


def _legend(
    figure: Any, panels: list[Slice], styles: dict[str, dict[str, Any]], level: tuple[str, float] | None, width: float
) -> None:
    from matplotlib.lines import Line2D

    shown = {point.entry for panel in panels for point in panel.points}
    dots: dict[str, Any] = {"linestyle": "none", "markersize": 5}
    lines = [Line2D([], [], label=name, **style, **dots) for name, style in styles.items() if name in shown]
    ring: dict[str, Any] = {
        "marker": "o",
        "markerfacecolor": "none",
        "markeredgecolor": "black",
        "linestyle": "none",
        "markersize": 8,
    }
    lines.append(Line2D([], [], label="best of its entry", **ring))
    if level is not None:
        lines.append(Line2D([], [], label=f"{level[0]} {level[1]:.3g}", color="0.5", linestyle="--", linewidth=0.9))
    longest = max(len(str(line.get_label())) for line in lines)
    columns = max(1, min(len(lines), int(width * 13 / (longest + 6))))
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
