"""The table by length: a row a configuration, a column a length; or, where that fills more of it, turned by another field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.report.cells import MISSING, PEAKS, Table, measured_text
from orchestrator.report.collect import SweepData, TrialSummary
from orchestrator.report.lengths import (
    Length,
    LengthMetrics,
    LengthRow,
    length_metrics,
    length_rows,
    lengths_json,
    lengths_of,
    row_label,
)

_ONE_LEVEL = 1.15
"""Values of a baseline that differ by more are several baselines: rows of differently trained models, say."""


@dataclass(frozen=True)
class Column:
    """A length, of the rows of one group where the table is turned."""

    group: str
    length: Length


@dataclass(frozen=True)
class Layout:
    """What stands where."""

    corner: str
    """The title of the first column."""
    rows: Mapping[str, Mapping[Column, TrialSummary]]
    columns: list[Column]

    @property
    def filled(self) -> float:
        """The share of the cells with a trial."""
        return sum(map(len, self.rows.values())) / (len(self.rows) * len(self.columns))


def length_table(data: SweepData) -> Table | None:
    """None where there is nothing to show by length."""
    rows = length_rows(data)
    metrics = length_metrics(data, rows)
    if not metrics.by_field:
        return None
    layout = _layout(rows, metrics)
    header = [layout.corner, *(_title(column, metrics) for column in layout.columns)]
    cells = [[label, *_cells(trials, layout.columns, metrics)] for label, trials in layout.rows.items()]
    return Table(header, cells + _baseline_rows(layout, metrics), _note(metrics))


def length_values(data: SweepData) -> Table | None:
    """The same values a line each; None where there is nothing to show by length."""
    lines = lengths_json(data)
    return Table(list(lines[0]), [list(map(str, line.values())) for line in lines], "") if lines else None


def _layout(rows: Sequence[LengthRow], metrics: LengthMetrics) -> Layout:
    """The plain one, unless another is filled better; of equal ones that with the most rows."""
    plain = _plain(rows, metrics)
    fields = dict.fromkeys(name for row in rows for name in row.grid)
    turned = [_turned(rows, metrics, field) for field in fields]
    best = max(turned, key=lambda layout: (layout.filled, len(layout.rows)), default=plain)
    return best if best.filled > plain.filled else plain


def _plain(rows: Sequence[LengthRow], metrics: LengthMetrics) -> Layout:
    columns = [Column("", length) for length in lengths_of(rows, metrics)]
    cells = {row.label: {Column("", length): row.trials[length] for length in lengths_of([row], metrics)} for row in rows}
    return Layout("entry", cells, columns)


def _turned(rows: Sequence[LengthRow], metrics: LengthMetrics, field: str) -> Layout:
    """A row for each value of the field; rows without it below, their values at every column of their lengths."""
    columns: dict[Column, None] = {}
    cells: dict[str, dict[Column, TrialSummary]] = {}
    for row in rows:
        if field in row.grid:
            group = row_label(row.entry, {name: value for name, value in row.grid.items() if name != field})
            found = {Column(group, length): row.trials[length] for length in lengths_of([row], metrics)}
            columns |= dict.fromkeys(found)
            cells.setdefault(row.grid[field], {}).update(found)
    for row in rows:
        if field not in row.grid:
            cells[row.label] = _below(row, lengths_of([row], metrics), columns)
    return Layout(field.rpartition(".")[2], cells, list(columns))


def _below(row: LengthRow, lengths: Sequence[Length], columns: dict[Column, None]) -> dict[Column, TrialSummary]:
    """The cells of a row without a group; a length that no group has gets a column of its own."""
    for length in lengths:
        if all(column.length != length for column in columns):
            columns[Column("", length)] = None
    return {column: row.trials[column.length] for column in columns if column.length in lengths}


def _title(column: Column, metrics: LengthMetrics) -> str:
    """``val 1024``, or ``1024`` where there is one kind of length; behind the group where there are several."""
    kind = f"{_kind(column.length.field)} " if len(metrics.by_field) > 1 else ""
    return (f"{column.group}: " if column.group else "") + f"{kind}{column.length.tokens}"


def _kind(field: str) -> str:
    return field.removesuffix("_length")


def _cells(trials: Mapping[Column, TrialSummary], columns: Iterable[Column], metrics: LengthMetrics) -> list[str]:
    return [_joined(_values(trials[column], column, metrics)) if column in trials else MISSING for column in columns]


def _values(trial: TrialSummary, column: Column, metrics: LengthMetrics) -> list[str]:
    return [measured_text(metric, trial.metric(metric)) for metric in metrics.by_field[column.length.field]]


def _joined(texts: Sequence[str]) -> str:
    return MISSING if all(text == MISSING for text in texts) else " / ".join(texts)


def _baseline_rows(layout: Layout, metrics: LengthMetrics) -> list[list[str]]:
    """A row with what the rows are compared with, where they agree on it."""
    cells = [_joined(_baseline(layout, column, metrics)) for column in layout.columns]
    return [[_baseline_name(metrics), *cells]] if any(cell != MISSING for cell in cells) else []


def _baseline(layout: Layout, column: Column, metrics: LengthMetrics) -> list[str]:
    trials = [trials[column] for trials in layout.rows.values() if column in trials]
    return [_level(metrics.baselines.get(metric), trials) for metric in metrics.by_field[column.length.field]]


def _level(baseline: str | None, trials: Iterable[TrialSummary]) -> str:
    values = [value for trial in trials if baseline and (value := trial.metric(baseline)) is not None]
    if not values or not baseline or max(values) > _ONE_LEVEL * min(values):
        return MISSING
    return "–".join(dict.fromkeys(measured_text(baseline, value) for value in (min(values), max(values))))


def _baseline_name(metrics: LengthMetrics) -> str:
    shown = [metric for listed in metrics.by_field.values() for metric in listed if metric in metrics.baselines]
    return baseline_name(shown[0], metrics.baselines[shown[0]])


def baseline_name(metric: str, baseline: str) -> str:
    """What the baseline's name says beyond the metric's: ``full attention`` for ``val/full_attention_loss``."""
    known = metric.rpartition("/")[2].split("_")
    return " ".join(word for word in baseline.rpartition("/")[2].split("_") if word not in known)


def _note(metrics: LengthMetrics) -> str:
    told = [f"{_kind(field)}: {' / '.join(map(_shown, shown))}" for field, shown in metrics.by_field.items()]
    if len(told) == 1:
        told = [" / ".join(map(_shown, next(iter(metrics.by_field.values()))))]
    lengths = ", ".join(metrics.by_field)
    return f"{'; '.join(told)}; columns: tokens ({lengths}); of several trials of a row and a length the best by the objective."


def _shown(metric: str) -> str:
    return PEAKS.get(metric, metric)
