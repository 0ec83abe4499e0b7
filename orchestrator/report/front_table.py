"""The Pareto front as a table: every completed trial that no other dominates, whatever its entry."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.report.cells import (
    Table,
    measured_cells,
    measured_columns,
    objective_metrics,
    parameter_cells,
    parameter_header,
    with_spread,
)
from orchestrator.report.collect import SweepData, TrialSummary, front_trials


def front_table(data: SweepData) -> Table:
    """The best by the first objective first."""
    front = front_trials(data)
    metrics, measured = objective_metrics(data), measured_columns(data, front)
    header = ["entry", "trial", *metrics, *parameter_header(data), *measured.values()]
    note = f"All completed trials than which no other is better in one of {', '.join(metrics)} and not worse in the others."
    return Table(header, [_row(data, summary, measured) for summary in front], note)


def _row(data: SweepData, summary: TrialSummary, measured: Iterable[str]) -> list[str]:
    values = map(with_spread, summary.objectives)
    return [summary.row, summary.trial.id, *values, *parameter_cells(data, summary), *measured_cells(summary, measured)]
