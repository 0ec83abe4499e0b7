"""The figure of a sweep: the objective along the runs, two objectives against each other, and measured memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.report.cells import memory_metric, objective_metrics
from orchestrator.report.collect import SweepData, best_trials, front_trials
from orchestrator.report.pictures.legend import entry_styles, legend_below, legend_inches, listed
from orchestrator.report.pictures.ticks import readable_ticks
from orchestrator.report.slices import is_wide
from trainables.exhibits.canvas import new_figure, plain_style

Styles = dict[str, dict[str, Any]]
Panel = Callable[[Any, SweepData, Styles], None]


def draw_figure(data: SweepData, path: Path) -> bool:
    """Draws the panels into a PNG; False where no trial is complete yet, or all that was measured is memory in a single step."""
    panels = _panels(data) if best_trials(data) else []
    if not panels:
        return False
    styles = entry_styles(space.name for space in data.specification.spaces)
    width = 5.7 + 3.8 * (len(panels) - 1)
    figure = new_figure(width, 3.6 + legend_inches(listed(list(styles)), width))
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=(3, *[2] * (len(panels) - 1)))
    for draw, axes in zip(panels, all_axes[0], strict=True):
        draw(axes, data, styles)
        plain_style(axes)
    _legend(figure, styles, width)
    figure.suptitle(data.name, fontsize=10, x=0.01, ha="left")
    figure.savefig(path, dpi=150)
    return True


def _panels(data: SweepData) -> list[Panel]:
    """The curves where runs have more than a step; the scatter where there are two objectives; the memory where it is not shown
    as one of them."""
    metrics = objective_metrics(data)
    memory, _ = memory_metric(best_trials(data))
    curves = [_draw_curves] if any(len(run.curve) > 1 for _, run in data.kept_runs) else []
    front = [_draw_front] if len(metrics) == 2 else []
    is_shown = memory in metrics if front else memory == metrics[0]
    return curves + front + ([] if is_shown else [_draw_memory])


def _draw_curves(axes: Any, data: SweepData, styles: Styles) -> None:
    best = {best.row: best.trial.id for best in best_trials(data)}
    for trial, run in data.kept_runs:
        if not run.curve:
            continue
        chosen = best.get(trial.space) == trial.id
        weight = {"linewidth": 1.8, "alpha": 1.0, "zorder": 3} if chosen else {"linewidth": 0.7, "alpha": 0.3}
        style = {"color": styles[trial.space]["color"], "linestyle": styles[trial.space]["linestyle"]}
        # A single step is no line.
        axes.plot(list(run.curve), list(run.curve.values()), marker="." if len(run.curve) == 1 else "", **style, **weight)
    _scale_values(axes, data, [value for _, run in data.kept_runs for value in run.curve.values()])
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(data.specification.task_type.progress_unit)
    axes.set_ylabel(data.specification.objective.metric)
    axes.set_title("every run; the best trial of each entry bold", fontsize=9)


def _draw_memory(axes: Any, data: SweepData, styles: Styles) -> None:
    metric, label = memory_metric(best_trials(data))
    shown = [
        (run.metrics[metric], run.curve[max(run.curve)], trial.space)
        for trial, run in data.kept_runs
        if run.outcome == "completed" and metric in run.metrics and run.curve
    ]
    for memory, value, space in shown:
        axes.scatter(memory, value, **_dot(styles[space]))
    _scale_values(axes, data, [value for _, value, _ in shown])
    axes.set_xlabel(label)
    axes.set_ylabel(data.specification.objective.metric)
    axes.set_title("completed runs against measured memory", fontsize=9)


def _draw_front(axes: Any, data: SweepData, styles: Styles) -> None:
    """The first objective against the second; a staircase bounds what the trials on the front dominate."""
    for trial in data.kept_trials:
        if trial.values:
            axes.scatter(*trial.values, **_dot(styles[trial.space]))
    front = sorted(tuple(summary.trial.values or ()) for summary in front_trials(data))
    first, second = data.specification.objectives
    # Where larger is better, a trial dominates what lies to its left.
    steps = "steps-pre" if first.mode == "max" else "steps-post"
    axes.plot(*zip(*front, strict=True), drawstyle=steps, color="0.55", linewidth=0.8, zorder=1)
    axes.scatter(*zip(*front, strict=True), s=60, facecolors="none", edgecolors="black", linewidths=0.9)
    axes.set_xlabel(f"{first.metric} ({first.mode})")
    axes.set_ylabel(f"{second.metric} ({second.mode})")
    axes.set_title("completed trials; circles: Pareto front", fontsize=9)


def _dot(style: dict[str, Any]) -> dict[str, Any]:
    return {"s": 22, "color": style["color"], "marker": style["marker"], "alpha": 0.75, "linewidths": 0}


def _scale_values(axes: Any, data: SweepData, values: list[float]) -> None:
    """The axis of the first objective: logarithmic for losses far apart."""
    if data.specification.objective.mode == "min" and values and is_wide(values):
        axes.set_yscale("log")
        readable_ticks(axes.yaxis, values, log=True)


def _legend(figure: Any, styles: Styles, width: float) -> None:
    """A line with a dot on it for each row, as curves and dots show them."""
    from matplotlib.lines import Line2D

    nothing: dict[str, Any] = {"linestyle": "none"}
    handles = [Line2D([], [], label=name, markersize=4, **styles.get(name, nothing)) for name in listed(list(styles))]
    legend_below(figure, handles, width)
