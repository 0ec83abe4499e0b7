"""Tables by part: of data that consist of several, such as tasks, a column for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from orchestrator.report.cells import MISSING, Table, measured_text
from orchestrator.report.collect import SweepData, TrialSummary, best_trials
from orchestrator.report.length_table import baseline_name
from trainables.task import metric_of_part


def part_tables(data: SweepData) -> dict[str, Table]:
    """A table for each kind of part that the task measures and runs have; rows are those of the result table."""
    bests = best_trials(data)
    wanted = data.specification.task_type.part_metrics.items()
    return {kind: _table(data, kind, metric, bests) for kind, metric in wanted if _parts(metric, bests)}


def _table(data: SweepData, kind: str, metric: str, bests: Sequence[TrialSummary]) -> Table:
    parts = _parts(metric, bests)
    names = [metric, *(metric_of_part(metric, part) for part in parts)]
    rows = [[best.row, *(measured_text(name, best.metric(name)) for name in names)] for best in bests]
    baseline = data.specification.task_type.baselines.get(metric)
    if baseline is not None:
        levels = [_level(name, bests) for name in [baseline, *(metric_of_part(baseline, part) for part in parts)]]
        rows += [[baseline_name(metric, baseline), *levels]] if any(level != MISSING for level in levels) else []
    return Table(["entry", "all", *parts], rows, f"{metric} by {kind}; the best trial of each row.")


def _parts(metric: str, bests: Iterable[TrialSummary]) -> list[str]:
    """In the order in which runs report them."""
    pattern = re.compile(re.escape(metric_of_part(metric, "\n")).replace(re.escape("\n"), "([^/]+)"))
    measured = dict.fromkeys(name for best in bests for run in best.runs for name in run.metrics)
    return [found.group(1) for name in measured if (found := pattern.fullmatch(name))]


def _level(metric: str, bests: Sequence[TrialSummary]) -> str:
    """What all rows have; where they differ there is no one level."""
    texts = {measured_text(metric, best.metric(metric)) for best in bests} - {MISSING}
    return texts.pop() if len(texts) == 1 else MISSING
