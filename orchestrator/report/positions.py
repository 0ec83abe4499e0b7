"""What was measured by position in the sequence: of the best trial of each row a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.report.cells import Table
from orchestrator.report.collect import SweepData, TrialSummary, best_trials
from orchestrator.report.lengths import length_in_tokens


@dataclass(frozen=True)
class PositionCurve:
    """A value for each of equal parts of the sequence, in their order."""

    row: str
    metric: str
    points: tuple[tuple[float, float], ...]
    """Where a part ends, in tokens, and the value of the part."""


def position_curves(data: SweepData, metric: str) -> list[PositionCurve]:
    """Of the rows that have the metric, the best row first; ``metric`` is one of the task's ``position_metrics``."""
    length = data.specification.task_type.position_metrics[metric]
    curves = [PositionCurve(best.row, metric, _points(best, metric, length)) for best in best_trials(data)]
    return [curve for curve in curves if curve.points]


def position_table(data: SweepData) -> Table | None:
    """All curves a line a value; None where there are none."""
    curves = [curve for metric in data.specification.task_type.position_metrics for curve in position_curves(data, metric)]
    rows = [[curve.row, curve.metric, f"{end:g}", repr(value)] for curve in curves for end, value in curve.points]
    return Table(["row", "metric", "tokens", "value"], rows, "") if rows else None


def _points(best: TrialSummary, metric: str, length: str) -> tuple[tuple[float, float], ...]:
    parts, tokens = _parts(best, metric), length_in_tokens(best, length)
    if not parts or tokens is None:
        return ()
    width = tokens / len(parts)
    return tuple((width * (index + 1), value) for index, value in enumerate(parts.values()))


def _parts(best: TrialSummary, metric: str) -> Mapping[int, float]:
    """The means over the runs by number, in order."""
    start = f"{metric}/"
    numbered = {int(name[len(start) :]): name for run in best.runs for name in run.metrics if _is_numbered(name, start)}
    values = {number: best.metric(numbered[number]) for number in sorted(numbered)}
    return {number: value for number, value in values.items() if value is not None}


def _is_numbered(name: str, start: str) -> bool:
    return name.startswith(start) and name[len(start) :].isdecimal()
