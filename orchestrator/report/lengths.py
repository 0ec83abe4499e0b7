"""What was measured by the length of sequences: of each row and length the best trial, and the values that a task shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.cells import parameter
from orchestrator.report.collect import SweepData, TrialSummary, summarise

_RowKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Length:
    """A length that something was measured at."""

    field: str
    """The task's field, such as ``val_length``."""
    tokens: int


@dataclass(frozen=True)
class LengthRow:
    """An entry, or those of its grid cells that differ in nothing but lengths."""

    entry: str
    grid: Mapping[str, str]
    """The other grid dimensions with the values of these cells, as they are shown."""
    trials: Mapping[Length, TrialSummary]
    """The best completed trial of each length by the first objective."""

    @property
    def label(self) -> str:
        return row_label(self.entry, self.grid)


@dataclass(frozen=True)
class LengthMetrics:
    """What a report shows of a task by length."""

    by_field: Mapping[str, tuple[str, ...]]
    """Of each length the metrics that runs have."""
    baselines: Mapping[str, str]
    """Of a metric the one of its baseline."""


def length_metrics(data: SweepData, rows: Sequence[LengthRow]) -> LengthMetrics:
    """The metrics as the task names them, of several that stand for one the first that any run has."""
    task = data.specification.task_type
    found = {
        field: tuple(metric for wanted in metrics if (metric := _first_measured(_names(wanted), field, rows)))
        for field, metrics in task.length_metrics.items()
    }
    return LengthMetrics({field: metrics for field, metrics in found.items() if metrics}, task.baselines)


def length_rows(data: SweepData) -> list[LengthRow]:
    """In the order of the space; empty where the task studies no lengths, or nothing is complete yet."""
    fields = tuple(data.specification.task_type.length_metrics)
    found: dict[_RowKey, dict[Length, TrialSummary]] = {}
    if not fields:
        return []
    for summary in _in_order(data):
        row = found.setdefault(_row_key(data, summary, fields), {})
        for field in fields:
            tokens = length_in_tokens(summary, field)
            if tokens is not None:
                length = Length(field, tokens)
                row[length] = _better(data, row.get(length), summary)
    return [LengthRow(entry, dict(grid), trials) for (entry, grid), trials in found.items() if trials]


def length_in_tokens(trial: TrialSummary, field: str) -> int | None:
    """What a trial has in this field of its task; None where its record does not tell."""
    value = trial.trial.configuration["task"].get(field)
    return value if isinstance(value, int) and value > 0 else None


def lengths_of(rows: Iterable[LengthRow], metrics: LengthMetrics) -> list[Length]:
    """Those of all rows: a field after the other, the shortest first."""
    fields = list(metrics.by_field)
    distinct = {length for row in rows for length in row.trials if length.field in fields}
    return sorted(distinct, key=lambda length: (fields.index(length.field), length.tokens))


def row_label(entry: str, grid: Mapping[str, str]) -> str:
    """``memo_gpt (visible_snapshots 2)``."""
    told = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in grid.items())
    return f"{entry} ({told})" if told else entry


def lengths_json(data: SweepData) -> list[dict[str, Any]]:
    """A mapping for each value: ``row``, ``length`` (its field), ``tokens``, ``trial``, ``metric``, ``value``."""
    rows = length_rows(data)
    metrics = length_metrics(data, rows)
    return [
        {
            **{"row": row.label, "length": length.field, "tokens": length.tokens, "trial": trial.trial.id},
            **{"metric": metric, "value": value},
        }
        for row in rows
        for length in lengths_of([row], metrics)
        for trial in (row.trials[length],)
        for metric in _with_baselines(metrics.by_field[length.field], metrics.baselines)
        if (value := trial.metric(metric)) is not None
    ]


def _with_baselines(metrics: Iterable[str], baselines: Mapping[str, str]) -> list[str]:
    listed = list(metrics)
    return list(dict.fromkeys([*listed, *(baselines[metric] for metric in listed if metric in baselines)]))


def _in_order(data: SweepData) -> list[TrialSummary]:
    order = {space.name: index for index, space in enumerate(data.specification.spaces)}
    trials = [trial for trial in data.kept_trials if trial.value is not None]
    return [summarise(data, trial) for trial in sorted(trials, key=lambda trial: (order[trial.space], trial.number))]


def _row_key(data: SweepData, summary: TrialSummary, fields: Sequence[str]) -> _RowKey:
    """The entry, and the grid dimensions of the cell that are no lengths."""
    space = next(space for space in data.specification.spaces if space.name == summary.row)
    lengths = {f"task.{field}" for field in fields}
    grid = {name: parameter(data.shown(value)) for name, value in space.grid.items() if name not in lengths}
    return space.entry, tuple(grid.items())


def _better(data: SweepData, one: TrialSummary | None, other: TrialSummary) -> TrialSummary:
    if one is None:
        return other
    sign = 1 if data.specification.objective.mode == "max" else -1
    return other if sign * other.first.value > sign * one.first.value else one


def _names(wanted: str | tuple[str, ...]) -> tuple[str, ...]:
    return (wanted,) if isinstance(wanted, str) else wanted


def _first_measured(metrics: Sequence[str], field: str, rows: Sequence[LengthRow]) -> str | None:
    trials = [trial for row in rows for length, trial in row.trials.items() if length.field == field]
    return next((metric for metric in metrics if any(trial.metric(metric) is not None for trial in trials)), None)
