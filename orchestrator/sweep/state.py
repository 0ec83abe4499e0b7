"""The state of a sweep as plain data, built by applying events: the same code when they happen and when they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]


@dataclass
class RunState:
    """One run: a trial with one seed."""

    id: str
    trial: str
    seed: int
    outcome: str | None = None
    progress: int = 0
    """The last epoch (or step) reported."""
    curve: dict[int, float] = field(default_factory=dict)
    """The objective by epoch."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest value of each metric."""
    tracking_id: str | None = None
    started: bool = False

    @property
    def in_flight(self) -> bool:
        return self.started and self.outcome in (None, "interrupted")


@dataclass
class TrialState:
    """One trial: a configuration that runs."""

    id: str
    study: str
    number: int
    """The suggestion that made it."""
    space: str
    """The cell: its entry, or its entry and grid values."""
    entry: str
    architecture: str
    drawn: dict[str, Any]
    configuration: dict[str, Any]
    fingerprint: str
    runs: list[str] = field(default_factory=list)
    twins: list[int] = field(default_factory=list)
    """Later suggestions of the same configuration that wait for its end."""
    outcome: str | None = None
    value: float | None = None
    """The objective: the mean over the completed runs."""


@dataclass
class StudyState:
    """What one study has suggested and been told, in order."""

    name: str
    suggestions: int = 0
    trials: list[str] = field(default_factory=list)
    by_fingerprint: dict[str, str] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)
    """The trial that answers each suggestion."""
    repeated: int = 0
    """Suggestions in a row that were seen before."""
    exhausted: bool = False


class SweepState:
    """Everything that events have said."""

    def __init__(self, objective: str) -> None:
        self._objective = objective
        self.header: dict[str, Any] = {}
        self.studies: dict[str, StudyState] = {}
        self.trials: dict[str, TrialState] = {}
        self.runs: dict[str, RunState] = {}
        self.tracking_id: str | None = None

    def apply_all(self, events: Iterable[Event]) -> SweepState:
        for event in events:
            self.apply(event)
        return self

    def apply(self, event: Event) -> None:
        getattr(self, f"_on_{event['kind']}")(event)

    def study(self, name: str) -> StudyState:
        return self.studies.setdefault(name, StudyState(name))

    def runs_of(self, trial: str) -> list[RunState]:
        return [self.runs[run] for run in self.trials[trial].runs]

    def _on_sweep(self, event: Event) -> None:
        self.header = dict(event)

    def _on_suggestion(self, event: Event) -> None:
        study = self.study(event["study"])
        study.suggestions += 1
        answered_by = event["answered_by"]
        study.answers[event["number"]] = answered_by or event["trial"]
        if answered_by is not None:
            study.repeated += 1
            if self.trials[answered_by].outcome is None:
                self.trials[answered_by].twins.append(event["number"])
            return
        study.repeated = 0
        keys = ("study", "number", "space", "entry", "architecture", "drawn", "configuration", "fingerprint")
        trial = TrialState(event["trial"], *(event[key] for key in keys))
        self.trials[trial.id] = trial
        study.trials.append(trial.id)
        study.by_fingerprint[trial.fingerprint] = trial.id
        for run, seed in event["runs"].items():
            self.runs[run] = RunState(run, trial.id, seed)
            trial.runs.append(run)

    def _on_exhausted(self, event: Event) -> None:
        self.study(event["study"]).exhausted = True

    def _on_start(self, event: Event) -> None:
        """The first start of a run, or another one after an interruption."""
        run = self.runs[event["run"]]
        run.started, run.outcome = True, None

    def _on_tracking(self, event: Event) -> None:
        if event["run"] is None:
            self.tracking_id = event["tracking_id"]
        else:
            self.runs[event["run"]].tracking_id = event["tracking_id"]

    def _on_result(self, event: Event) -> None:
        run = self.runs[event["run"]]
        run.progress = max(run.progress, event["progress"])
        run.metrics.update(event["metrics"])
        if event["progress"] and self._objective in event["metrics"]:
            run.curve[event["progress"]] = event["metrics"][self._objective]

    def _on_outcome(self, event: Event) -> None:
        self.runs[event["run"]].outcome = event["outcome"]

    def _on_trial_end(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.outcome, trial.value = event["outcome"], event["value"]

    def _on_told(self, event: Event) -> None:
        pass

    def _on_end(self, event: Event) -> None:
        pass

    def _on_resume(self, event: Event) -> None:
        pass
