"""Slices through a sweep: the first objective of its completed trials against one thing at a time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.collect import SweepData, TrialSummary, summarise
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Searched

MOST_SLICES = 8
WIDE = 30
"""Positive values that span more than this factor are shown on a logarithmic axis."""
WIDE_LOSS = 10
"""The same of losses, most of which lie close to the best, and of sizes, which are doubled rather than added to."""
_ONE_LEVEL = 1.15
"""Baselines that differ by less differ in the length of windows, not in the data."""

_FEWEST_TO_FOCUS = 8

CODEBOOK_ROWS = "codebook/rows"
_LABELS = {CODEBOOK_ROWS: "codebook rows (vocabulary size)"}


@dataclass(frozen=True)
class Point:
    """A completed trial: ``x`` of the slice, ``y`` the first objective."""

    entry: str
    trial: str
    x: float
    y: float


@dataclass(frozen=True)
class Slice:
    label: str
    log: bool
    points: list[Point]


def slices(data: SweepData) -> list[Slice]:
    """At most :data:`MOST_SLICES`: first what was measured of the sizes, then the numeric hyperparameters that are searched, in
    their order; where there are too many, those that most entries search. What has a single value is left out.

    A hyperparameter that is a list has no slice of its own; the size of codebooks stands for their lists.
    """
    trials = completed(data)
    sizes = [piece for metric in _sizes(data, trials) if (piece := _measured_slice(metric, trials))]
    searched = [piece for name in _searched(data) if (piece := _searched_slice(name, data, trials))]
    wanted = sorted(searched, key=lambda piece: -len({point.entry for point in piece.points}))[: MOST_SLICES - len(sizes)]
    return sizes + [piece for piece in searched if piece in wanted]


def completed(data: SweepData) -> list[TrialSummary]:
    """The kept trials with a value."""
    return [summarise(data, trial) for trial in data.kept_trials if trial.value is not None]


def baseline(data: SweepData, trials: Sequence[TrialSummary]) -> tuple[str, float] | None:
    """The name and level of what the task compares its first objective with, averaged over the trials.

    A task names it in ``baseline_ratios``: of an objective the metric that is its ratio to the baseline. None where trials have
    levels of their own, as on different files: one line would be none of theirs.
    """
    metric = data.specification.objective.metric
    ratio = data.specification.task_type.baseline_ratios.get(metric)
    if ratio is None:
        return None
    measured = [run.metrics for trial in trials for run in trial.runs if run.metrics.get(ratio) and metric in run.metrics]
    levels = [metrics[metric] / metrics[ratio] for metrics in measured]
    name = ratio.rpartition("/")[2].removesuffix("_ratio").replace("_", " ")
    return (name, statistics.fmean(levels)) if levels and max(levels) <= _ONE_LEVEL * min(levels) else None


def is_wide(values: Iterable[float], factor: float = WIDE) -> bool:
    low, high = min(values := list(values), default=0.0), max(values, default=0.0)
    return low > 0 and high > factor * low


def worst_shown(values: Sequence[float], mode: str, wanted: Iterable[float] = ()) -> float | None:
    """The end of the objective's axis on its worse side where a few bad trials would squash all others, else None.

    It lies as far from the best value as the better three quarters of the values reach, and one and a half times as far again,
    but not before any of ``wanted``.
    """
    sign = -1.0 if mode == "max" else 1.0
    costs = sorted(sign * value for value in values)
    if len(costs) < _FEWEST_TO_FOCUS:
        return None
    reach = costs[(3 * len(costs)) // 4] - costs[0]
    end = max(costs[0] + 2.5 * reach, *(sign * value for value in wanted), costs[0])
    return sign * end if costs[-1] > end else None


def _sizes(data: SweepData, trials: Sequence[TrialSummary]) -> list[str]:
    """The scope of the budget, else everything stored, which is shown too where something is stored besides parameters."""
    budget = data.specification.spaces[0].budget
    beside = any(trial.metric(f"params/{scope}") for trial in trials for scope in ("buffers", "external"))
    scopes = dict.fromkeys([budget.scope if budget else "stored", *(["stored"] if beside else [])])
    return [*(f"params/{scope}" for scope in scopes), CODEBOOK_ROWS]


def _measured_slice(metric: str, trials: Sequence[TrialSummary]) -> Slice | None:
    known = [(trial, value) for trial in trials if (value := trial.metric(metric)) is not None]
    return _slice(
        _LABELS.get(metric, metric),
        is_wide((value for _, value in known), WIDE_LOSS),
        [_point(trial, value) for trial, value in known],
    )


def _searched(data: SweepData) -> list[str]:
    """The fields that are searched, or vary from cell to cell: the model's first, then those of training and the task."""
    found: dict[str, None] = {}
    for space in data.specification.spaces:
        found |= {name: None for name, field in space.fields.items() if name in space.grid or isinstance(field.value, Searched)}
    return sorted(found, key=lambda name: (*_LAST, name.rpartition(".")[0]).index(name.rpartition(".")[0]))


_LAST = ("", "training", "task")


def _searched_slice(name: str, data: SweepData, trials: Sequence[TrialSummary]) -> Slice | None:
    spaces = {space.name: space for space in data.specification.spaces}
    known = [(trial, _value(name, spaces[trial.row], trial)) for trial in trials]
    label = name if name.startswith("task.") else name.rpartition(".")[2]
    log = any(_is_log(space, name) for space in spaces.values())
    return _slice(label, log, [_point(trial, value) for trial, value in known if value is not None])


def _is_log(space: StudySpace, name: str) -> bool:
    value = space.fields[name].value if name in space.fields else None
    return isinstance(value, Searched) and getattr(value.dimension, "log", False)


def _value(name: str, space: StudySpace, trial: TrialSummary) -> float | None:
    """The number that a trial has there; None where it is none, or was not searched in this trial."""
    scope, _, leaf = name.rpartition(".")
    field = space.fields.get(name)
    drawn = field is not None and isinstance(field.value, Searched) and field.value.dimension.name in trial.trial.drawn
    value: Any = trial.trial.configuration[scope or "model"].get(leaf) if drawn or name in space.grid else None
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def _point(trial: TrialSummary, x: float) -> Point:
    return Point(trial.entry, trial.trial.id, x, trial.first.value)


def _slice(label: str, log: bool, points: list[Point]) -> Slice | None:
    values = {point.x for point in points}
    if len(values) < 2:
        return None
    return Slice(label, min(values) > 0 and (log or is_wide(values)), points)
