"""What a sampler is told of a trial that has ended."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from orchestrator.outcome import OUTCOMES
from orchestrator.search.study import Told
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.state import RunState, TrialState


def trial_values(specification: SweepSpecification, runs: Sequence[RunState]) -> list[float] | None:
    """The objectives of a trial: means over its completed runs; None where one of them was never measured."""
    completed = [run for run in runs if run.outcome == "completed"]
    values = []
    for objective in specification.objectives:
        found = [objective.value_of(run.curves.get(objective.metric, {}), run.metrics) for run in completed]
        known = [value for value in found if value is not None]
        if not known:
            return None
        values.append(statistics.fmean(known))
    return values


def told(specification: SweepSpecification, trial: TrialState, runs: Sequence[RunState]) -> Told:
    """A trial's outcome as its study is told it, with the curve where a single objective was stopped on its way."""
    outcome = OUTCOMES[trial.outcome or "failed"]
    pruned = outcome.sampler_state == "PRUNED" and len(specification.objectives) == 1
    curve = next((run.curve for run in runs if run.curve), {}) if pruned else {}
    values = tuple(trial.values) if trial.values and outcome.sampler_state == "COMPLETE" else None
    constraints = {outcome.constraint: 1.0} if outcome.constraint else {}
    return Told(outcome.sampler_state or "FAIL", values, dict(curve), constraints | _violations(specification, runs))


def _violations(specification: SweepSpecification, runs: Sequence[RunState]) -> dict[str, float]:
    """Of the measured constraints: greater than zero where one is violated."""
    violations = {}
    for soft in specification.measured:
        values = [run.metrics[soft.metric] for run in runs if soft.metric in run.metrics]
        if values and soft.max is not None:
            violations[f"{soft.metric} <= {soft.max:g}"] = max(values) - soft.max
        if values and soft.min is not None:
            violations[f"{soft.metric} >= {soft.min:g}"] = soft.min - min(values)
    return violations
