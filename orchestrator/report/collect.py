"""What a report is made of: the runs of a sweep, and the best trial of each entry and cell."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.record import read_journal
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import Objective, SweepSpecification
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.naming import compared_parameters
from orchestrator.sweep.state import RunState, SweepState, TrialState
from trainables.counts import SCOPES


@dataclass(frozen=True)
class SweepData:
    """A sweep as its record tells it."""

    folder: SweepFolder
    specification: SweepSpecification
    state: SweepState

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class BestTrial:
    """The best trial of one row of the table, with the means over its completed runs."""

    row: str
    entry: str
    trial: TrialState
    runs: list[RunState]
    value: float
    """The objective as the sweep defines it, mean over runs."""
    spread: float | None
    """Standard deviation over runs; None for a single one."""
    best_value: float
    """The mean of the best value that each run had at any step."""
    parameters: dict[str, Any]

    def metric(self, name: str) -> float | None:
        """The mean of a metric over the runs; None where none has it."""
        values = [run.metrics[name] for run in self.runs if name in run.metrics]
        return statistics.fmean(values) if values else None


def load_sweep(folder: SweepFolder) -> SweepData:
    """Reads a sweep's space and record."""
    specification = read_search_space(folder.space)
    state = SweepState(specification.objective.metric).apply_all(read_journal(folder.record))
    return SweepData(folder, specification, state)


def best_trials(data: SweepData) -> list[BestTrial]:
    """The best completed trial of each study space, the best row first; spaces without one are left out."""
    found = []
    for space in data.specification.spaces:
        trials = [t for t in data.state.trials.values() if t.space == space.name and t.value is not None]
        if trials:
            sign = 1 if data.specification.objective.mode == "max" else -1
            best = max(trials, key=lambda trial: sign * (trial.value or 0.0))
            found.append(_best(data, best))
    reverse = data.specification.objective.mode == "max"
    return sorted(found, key=lambda best: best.value, reverse=reverse)


def outcome_counts(data: SweepData, space: str) -> Counter[str]:
    """How the trials of a study space ended; ``running`` for those that have not."""
    return Counter(trial.outcome or "running" for trial in data.state.trials.values() if trial.space == space)


def runs_as_json(data: SweepData) -> list[dict[str, Any]]:
    """Every started run in the form of ``report --json``."""
    found = []
    for run in data.state.runs.values():
        trial = data.state.trials[run.trial]
        params = {scope: int(run.metrics[f"params/{scope}"]) for scope in SCOPES if f"params/{scope}" in run.metrics}
        found.append(
            {
                "id": run.id,
                "entry": trial.entry,
                "architecture": trial.architecture,
                "outcome": run.outcome,
                "config": trial.configuration,
                "seed": run.seed,
                "metrics": {name: value for name, value in run.metrics.items() if not name.startswith("params/")},
                "params": params,
                "mlflow_run_id": run.tracking_id,
                "fingerprint": trial.fingerprint,
            }
        )
    return found


def _best(data: SweepData, trial: TrialState) -> BestTrial:
    runs = [run for run in data.state.runs_of(trial.id) if run.outcome == "completed"]
    objective = data.specification.objective
    values = _values(objective, runs)
    space = next(space for space in data.specification.spaces if space.name == trial.space)
    return BestTrial(
        row=trial.space,
        entry=trial.entry,
        trial=trial,
        runs=runs,
        value=trial.value if trial.value is not None else statistics.fmean(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        best_value=statistics.fmean(_values(replace(objective, at="best"), runs)),
        parameters=compared_parameters(space, trial.configuration),
    )


def _values(objective: Objective, runs: list[RunState]) -> list[float]:
    found = (objective.value_of(run.curve, run.metrics) for run in runs)
    return [value for value in found if value is not None]
