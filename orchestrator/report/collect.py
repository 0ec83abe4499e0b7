"""What a report is made of: the runs of a sweep, the best trial of each entry and cell, and the Pareto front."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from orchestrator.record import checked_events
from orchestrator.report.pareto import pareto_front
from orchestrator.space.specification import Objective, SweepSpecification
from orchestrator.sweep.consistency import consistent_state
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.naming import compared_parameters
from orchestrator.sweep.recorded_space import recorded_specification
from orchestrator.sweep.state import RunState, SweepState, TrialState
from trainables.counts import SCOPES
from trainables.files import shown_names
from trainables.pretrained.backbone_names import backbone_key, backbone_names, is_backbone


@dataclass(frozen=True)
class SweepData:
    """A sweep as its record tells it."""

    folder: SweepFolder
    specification: SweepSpecification
    state: SweepState

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def modes(self) -> list[str]:
        """``min`` or ``max`` of each objective."""
        return [objective.mode for objective in self.specification.objectives]

    @property
    def kept_trials(self) -> list[TrialState]:
        """The trials that lie in the space as it is now; an edit may have left earlier ones outside."""
        return [trial for trial in self.state.trials.values() if trial.kept]

    @property
    def kept_runs(self) -> list[tuple[TrialState, RunState]]:
        """The runs of the kept trials, each with its trial."""
        return [(trial, run) for trial in self.kept_trials for run in self.state.runs_of(trial.id)]

    def shown(self, value: Any) -> Any:
        """A value of a configuration; of a file and of a backbone its name, told apart from others of this sweep."""
        if is_backbone(value):
            return self._backbones.get(backbone_key(value), value)
        return self._files.get(value, value) if isinstance(value, str) else value

    @cached_property
    def _files(self) -> dict[str, str]:
        return shown_names(self.specification.files)

    @cached_property
    def _backbones(self) -> dict[str, str]:
        """The names of the backbones of all trials, by what identifies them."""
        models = [trial.configuration["model"] for trial in self.kept_trials]
        values = [value for model in models for name, value in model.items() if name == "backbone" or is_backbone(value)]
        distinct = {backbone_key(value): value for value in values}
        return dict(zip(distinct, backbone_names(distinct.values()), strict=True))


@dataclass(frozen=True)
class Measured:
    """One objective of a trial over its completed runs."""

    value: float
    """As the sweep defines it: the mean over the runs."""
    spread: float | None
    """Standard deviation over runs; None for a single one."""
    best_value: float
    """The mean of the best value that each run had at any step."""


@dataclass(frozen=True)
class TrialSummary:
    """A completed trial with the means over its completed runs."""

    row: str
    entry: str
    trial: TrialState
    runs: list[RunState]
    objectives: list[Measured]
    """In the order of the sweep's objectives."""
    parameters: dict[str, Any]

    @property
    def first(self) -> Measured:
        """The first objective."""
        return self.objectives[0]

    def metric(self, name: str) -> float | None:
        """The mean of a metric over the runs; None where none has it."""
        values = [run.metrics[name] for run in self.runs if name in run.metrics]
        return statistics.fmean(values) if values else None


def load_sweep(folder: SweepFolder) -> SweepData:
    """Reads a sweep's space and record.

    Raises:
        SearchSpaceError: the space has mistakes.
        JournalError: the record is damaged, or is not that of the space.
    """
    events = checked_events(folder.record)
    specification = recorded_specification(folder, events)
    return SweepData(folder, specification, consistent_state(specification, events, folder.record))


def best_trials(data: SweepData) -> list[TrialSummary]:
    """The best completed trial of each study space by the first objective, the best row first; spaces without one are
    left out."""
    sign = 1 if data.specification.objective.mode == "max" else -1
    found = []
    for space in data.specification.spaces:
        trials = [trial for trial in data.kept_trials if trial.space == space.name and trial.value is not None]
        if trials:
            found.append(summarise(data, max(trials, key=lambda trial: sign * (trial.value or 0.0))))
    return sorted(found, key=lambda best: sign * best.first.value, reverse=True)


def front_trials(data: SweepData) -> list[TrialSummary]:
    """The completed trials of the whole sweep on the Pareto front, the best by the first objective first."""
    front = [summarise(data, trial) for trial in pareto_front(data.kept_trials, data.modes)]
    return sorted(front, key=lambda trial: trial.first.value, reverse=data.specification.objective.mode == "max")


def summarise(data: SweepData, trial: TrialState) -> TrialSummary:
    """A completed trial of a space that the sweep has now."""
    runs = [run for run in data.state.runs_of(trial.id) if run.outcome == "completed"]
    space = next(space for space in data.specification.spaces if space.name == trial.space)
    objectives = zip(data.specification.objectives, trial.values or [], strict=True)
    measured = [_measured(objective, value, runs) for objective, value in objectives]
    parameters = {name: data.shown(value) for name, value in compared_parameters(space, trial.configuration).items()}
    return TrialSummary(trial.space, trial.entry, trial, runs, measured, parameters)


def outcome_counts(data: SweepData, space: str) -> Counter[str]:
    """How the kept trials of a study space ended; ``running`` for those that have not."""
    return Counter(trial.outcome or "running" for trial in data.kept_trials if trial.space == space)


def runs_as_json(data: SweepData) -> list[dict[str, Any]]:
    """Every started run in the form of ``report --json``."""
    found = []
    for run in data.state.runs.values():
        trial = data.state.trials[run.trial]
        params = {scope: int(run.metrics[f"params/{scope}"]) for scope in SCOPES if f"params/{scope}" in run.metrics}
        found.append(
            {
                "id": run.id,
                "trial": trial.id,
                "entry": trial.entry,
                "architecture": trial.architecture,
                "outcome": run.outcome,
                "kept": trial.kept,
                "config": trial.configuration,
                "seed": run.seed,
                "metrics": {name: value for name, value in run.metrics.items() if not name.startswith("params/")},
                "params": params,
                "mlflow_run_id": run.tracking_id,
                "fingerprint": trial.fingerprint,
                "shared": run.provenance.get("stages", "").split(),
            }
        )
    return found


def _measured(objective: Objective, value: float, runs: list[RunState]) -> Measured:
    values, bests = _values(objective, runs), _values(replace(objective, at="best"), runs)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Measured(value, spread, statistics.fmean(bests) if bests else value)


def _values(objective: Objective, runs: list[RunState]) -> list[float]:
    found = (objective.value_of(run.curves[objective.metric], run.metrics) for run in runs)
    return [value for value in found if value is not None]
