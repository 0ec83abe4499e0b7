"""The state of a sweep as plain data, built by applying events: the same code when they happen and when they are read back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """Each objective by epoch, the first objective first."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest value of each metric."""
    tracking_id: str | None = None
    name: str = ""
    """As MLflow shows it."""
    attempts: int = 0
    """How often it was handed out to a process."""
    needed_mib: float | None = None
    """What it needed on its GPU when that ran out of memory, after which it was begun once more; None where it never did."""
    begins: list[int] = field(default_factory=list)
    """For each process that took the run up, the epoch of the checkpoint that it went on from (0: from the start)."""
    provenance: dict[str, str] = field(default_factory=dict)
    """Versions of code, data and libraries, from the process that took it up last."""

    @property
    def curve(self) -> dict[int, float]:
        """The first objective by epoch."""
        return next(iter(self.curves.values()))

    @property
    def started(self) -> bool:
        return self.attempts > 0

    @property
    def in_flight(self) -> bool:
        return self.started and self.outcome in (None, "interrupted")


@dataclass
class TrialState:
    """One trial: a configuration that runs."""

    id: str
    study: str
    number: int
    """Its number in the study, as Optuna counts."""
    space: str
    """The cell: its entry, or its entry and grid values."""
    entry: str
    architecture: str
    drawn: dict[str, Any]
    configuration: dict[str, Any]
    fingerprint: str
    task: str
    runs: list[str] = field(default_factory=list)
    twins: list[int] = field(default_factory=list)
    """Later suggestions of the same configuration that wait for its end."""
    outcome: str | None = None
    values: list[float] | None = None
    """The objectives: the means over the completed runs."""
    kept: bool = True
    """Whether it lies in the space as that was edited last."""

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None


@dataclass
class StudyState:
    """What one study has suggested and been told, in order."""

    name: str
    trials: list[str] = field(default_factory=list)
    by_fingerprint: dict[str, str] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)
    """The trial that answers each suggestion."""
    repeated: int = 0
    """Suggestions in a row that were seen before."""
    exhausted: bool = False


class SweepState:
    """Everything that events have said."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        self.header: dict[str, Any] = {}
        self.studies: dict[str, StudyState] = {}
        self.trials: dict[str, TrialState] = {}
        self.runs: dict[str, RunState] = {}
        self.tracking_id: str | None = None
        self.made: Counter[str] = Counter()
        """Trials ever made under the name of each study, those of earlier editions of the space included."""
        self.warm: list[dict[str, Any]] = []
        """What earlier sweeps had to tell, an event for each."""
        self.prepared: dict[str, dict[str, Any]] = {}
        """What making each stage cost, by the name of its folder: ``title``, ``metrics``, ``bytes``."""
        self._provenances: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        """Each one once: a sweep has few, its runs are many."""

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
        answered_by = event["answered_by"]
        study.answers[event["number"]] = answered_by or event["trial"]
        if answered_by is not None:
            study.repeated += 1
            if self.trials[answered_by].outcome is None:
                self.trials[answered_by].twins.append(event["number"])
            return
        study.repeated = 0
        keys = ("study", "number", "space", "entry", "architecture", "drawn", "configuration", "fingerprint", "task")
        trial = TrialState(event["trial"], *(event[key] for key in keys))
        self.trials[trial.id] = trial
        self.made[study.name] += 1
        self._enter(study, trial)
        self._add_runs(trial, event["runs"])

    def _enter(self, study: StudyState, trial: TrialState) -> None:
        study.trials.append(trial.id)
        study.by_fingerprint[trial.fingerprint] = trial.id

    def _add_runs(self, trial: TrialState, runs: Mapping[str, int]) -> None:
        for run, seed in runs.items():
            self.runs[run] = RunState(run, trial.id, seed, curves={metric: {} for metric in self._objectives})
            trial.runs.append(run)

    def _on_edit(self, event: Event) -> None:
        """Another space: the trials that lie in it are taken over into its studies, the others are left out."""
        self.studies = {}
        for trial in self.trials.values():
            trial.kept = trial.id in event["kept"]
            trial.twins = []
        for identity, home in event["kept"].items():
            self._take_over(self.trials[identity], home)

    def _take_over(self, trial: TrialState, home: Mapping[str, Any]) -> None:
        study = self.study(home["study"])
        trial.study, trial.space, trial.drawn, trial.number = study.name, home["space"], home["drawn"], len(study.trials)
        study.answers[trial.number] = trial.id
        self._enter(study, trial)
        self._add_runs(trial, home["runs"])
        # With more runs to come it has not ended, and has no value that could be compared.
        trial.values = None if home["runs"] else home["values"]
        trial.outcome = None if home["runs"] else trial.outcome

    def _on_warm_start(self, event: Event) -> None:
        self.warm.append(dict(event))

    def _on_prepared(self, event: Event) -> None:
        self.prepared[event["stage"]] = {key: event[key] for key in ("title", "metrics", "bytes")}

    def _on_exhausted(self, event: Event) -> None:
        self.study(event["study"]).exhausted = True

    def _on_start(self, event: Event) -> None:
        """The first start of a run, or another one after an interruption or a death."""
        run = self.runs[event["run"]]
        run.outcome = None
        run.attempts += 1
        run.name = event.get("name", run.name)

    def _on_retry(self, event: Event) -> None:
        """It ran out of memory and is begun once more, with more."""
        self.runs[event["run"]].needed_mib = event["needed_mib"]

    def _on_begin(self, event: Event) -> None:
        """A process took the run up."""
        run = self.runs[event["run"]]
        run.begins.append(event["continued_from"])
        provenance = event["provenance"]
        run.provenance = self._provenances.setdefault(tuple(provenance.items()), provenance)

    def _on_tracking(self, event: Event) -> None:
        if event["run"] is None:
            self.tracking_id = event["tracking_id"]
        else:
            self.runs[event["run"]].tracking_id = event["tracking_id"]

    def _on_result(self, event: Event) -> None:
        run, progress = self.runs[event["run"]], event["progress"]
        run.progress = max(run.progress, progress)
        # Read from JSON, each run would hold the names anew: more memory than its values.
        run.metrics.update((sys.intern(metric), value) for metric, value in event["metrics"].items())
        for metric, curve in run.curves.items():
            if progress and metric in event["metrics"]:
                curve[progress] = event["metrics"][metric]

    def _on_outcome(self, event: Event) -> None:
        self.runs[event["run"]].outcome = event["outcome"]

    def _on_trial_end(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.outcome, trial.values = event["outcome"], event["values"]

    def _on_told(self, event: Event) -> None:
        """Concerns the study alone, as do the next ones."""

    _on_end = _on_resume = _on_warning = _on_told
