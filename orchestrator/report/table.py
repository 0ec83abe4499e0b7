"""The result table: one row an entry (or grid cell), its best trial, what varies, its size and its memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.report.cells import (
    MISSING,
    Table,
    measured_cells,
    measured_columns,
    memory_metric,
    number,
    parameter_cells,
    parameter_header,
    reported_metrics,
    with_spread,
)
from orchestrator.report.collect import SweepData, TrialSummary, best_trials, front_trials, outcome_counts
from orchestrator.space.specification import Objective


def result_table(data: SweepData) -> Table:
    """The table of one sweep, best row by the first objective first; rows without a completed trial stand last."""
    bests = best_trials(data)
    measured = measured_columns(data, bests)
    reported = reported_metrics(data, bests)
    header = ["entry", *_objective_header(data, bests), *reported, *parameter_header(data), *measured.values(), "trials"]
    front = {summary.trial.id for summary in front_trials(data)}
    rows = [_row(data, best, bests, measured, best.trial.id in front) for best in bests]
    without = [space.name for space in data.specification.spaces if space.name not in {best.row for best in bests}]
    rows += [_empty_row(data, name, header) for name in without]
    return Table(header, rows, _note(data, bests))


def _objective_header(data: SweepData, bests: Sequence[TrialSummary]) -> list[str]:
    first, *others = data.specification.objectives
    shown = [first.metric] + (["best step"] if _shows_best_step(data) else [])
    shown += [*(objective.metric for objective in others), "on front"] if others else []
    return shown + (["solved at"] if _solved(bests) else [])


def _shows_best_step(data: SweepData) -> bool:
    """Not where the objective is it already, or where there is a single step."""
    return data.specification.objective.at != "best" and data.specification.task_type.trains


def _solved(bests: Sequence[TrialSummary]) -> bool:
    """Whether any best trial has reached its task's target."""
    return any(best.metric("solved_epoch") is not None for best in bests)


def _solved_at(best: TrialSummary) -> str:
    """The mean over the runs that solved the task, and how many did where not all."""
    solving = sum("solved_epoch" in run.metrics for run in best.runs)
    share = f" ({solving} of {len(best.runs)})" if 0 < solving < len(best.runs) else ""
    return number(best.metric("solved_epoch")) + share


def _row(
    data: SweepData, best: TrialSummary, bests: Sequence[TrialSummary], measured: Iterable[str], on_front: bool
) -> list[str]:
    first, *others = best.objectives
    shown = [with_spread(first)]
    shown += [number(first.best_value)] if _shows_best_step(data) else []
    shown += [*map(with_spread, others), "yes" if on_front else "no"] if others else []
    shown += [_solved_at(best)] if _solved(bests) else []
    shown += [number(best.metric(metric)) for metric in reported_metrics(data, bests)]
    return [best.row, *shown, *parameter_cells(data, best), *measured_cells(best, measured), _trials(data, best.row)]


def _empty_row(data: SweepData, space: str, header: Sequence[str]) -> list[str]:
    return [space, *[MISSING] * (len(header) - 2), _trials(data, space)]


def _trials(data: SweepData, space: str) -> str:
    counts = outcome_counts(data, space)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "0"


def _note(data: SweepData, bests: Sequence[TrialSummary]) -> str:
    specification, budget = data.specification, data.specification.spaces[0].budget
    parts = [f"{specification.task_type.name}: {', '.join(map(describe_objective, specification.objectives))}"]
    if len(specification.objectives) > 1:
        parts.append(f"each row shows its best trial by {specification.objective.metric}")
        parts.append("on front: no completed trial is better in one objective and not worse in the others")
    if specification.search.replicates > 1:
        parts.append(f"mean ± standard deviation of {specification.search.replicates} seeds")
    if budget:
        parts.append(f"every trial within {budget.describe()}")
    if _solved(bests):
        parts.append(f"solved at: the first {specification.task_type.progress_unit} at the task's target")
    parts.append(f"memory is {memory_metric(bests)[0]}, measured")
    return "; ".join(parts) + "." + _left_out(data)


def describe_objective(objective: Objective) -> str:
    """``val/accuracy (larger is better) at the last step``."""
    how = "at the last step" if objective.at == "last" else "at the best step"
    better = "larger" if objective.mode == "max" else "smaller"
    return f"{objective.metric} ({better} is better) {how}"


def _left_out(data: SweepData) -> str:
    count = len(data.state.trials) - len(data.kept_trials)
    if not count:
        return ""
    trials, lie = ("trial", "lies outside it and is") if count == 1 else ("trials", "lie outside it and are")
    return f"\n\n{count} {trials} of earlier editions of the space {lie} not shown."
