"""The figure of a sweep: the objective along the runs of each entry, and the best against measured memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData, best_trials
from orchestrator.report.table import memory_metric

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


def draw_figure(data: SweepData, path: Path) -> bool:
    """Draws two panels into a PNG; False where no trial is complete yet."""
    bests = best_trials(data)
    if not bests:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    curves, memory = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = [space.name for space in data.specification.spaces]
    colours = {row: COLOURS[index % len(COLOURS)] for index, row in enumerate(rows)}
    _draw_curves(curves, data, colours)
    _draw_memory(memory, data, colours)
    figure.suptitle(data.name, fontsize=10, x=0.01, ha="left")
    figure.savefig(path, dpi=150)
    return True


def _draw_curves(axes: Any, data: SweepData, colours: dict[str, str]) -> None:
    best = {best.row: best.trial.id for best in best_trials(data)}
    for run in data.state.runs.values():
        trial = data.state.trials[run.trial]
        if not run.curve:
            continue
        chosen = best.get(trial.space) == trial.id
        style = {"linewidth": 1.8, "alpha": 1.0, "zorder": 3} if chosen else {"linewidth": 0.7, "alpha": 0.3}
        axes.plot(list(run.curve), list(run.curve.values()), color=colours[trial.space], **style)
    for row, colour in colours.items():
        axes.plot([], [], color=colour, label=row)
    axes.set_xlabel(data.specification.task_type.progress_unit)
    axes.set_ylabel(data.specification.objective.metric)
    axes.set_title("every run; the best trial of each entry bold", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    _clean(axes)


def _draw_memory(axes: Any, data: SweepData, colours: dict[str, str]) -> None:
    metric, label = memory_metric(best_trials(data))
    for run in data.state.runs.values():
        trial = data.state.trials[run.trial]
        if run.outcome != "completed" or metric not in run.metrics or not run.curve:
            continue
        value = run.curve[max(run.curve)]
        axes.scatter(run.metrics[metric], value, s=22, color=colours[trial.space], alpha=0.75, linewidths=0)
    axes.set_xlabel(label)
    axes.set_ylabel(data.specification.objective.metric)
    axes.set_title("completed runs against measured memory", fontsize=9)
    _clean(axes)


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.2, linewidth=0.5)
