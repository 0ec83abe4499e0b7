"""How a sweep appears in MLflow: one parent run, a child for each run, self-sufficient tags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from orchestrator.outcome import OUTCOMES
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.naming import compared_parameters, run_name
from orchestrator.sweep.state import RunState, TrialState
from orchestrator.tracking import Tracker

PARENT = "sweep"


class Telemetry(Protocol):
    """What the controller tells of a sweep's progress; no call waits for a network."""

    def sweep_opened(self) -> None: ...

    def run_started(self, trial: TrialState, run: RunState) -> None: ...

    def run_resumed(self, trial: TrialState, run: RunState) -> None: ...

    def run_reported(self, run: RunState, progress: int, metrics: Mapping[str, float]) -> None: ...

    def run_ended(self, trial: TrialState, run: RunState, outcome: str, error: Mapping[str, str] | None) -> None: ...

    def sweep_ended(self, status: str) -> None: ...


class NoTelemetry:
    """Says nothing; for tests and simulations."""

    def sweep_opened(self) -> None: ...

    def run_started(self, trial: TrialState, run: RunState) -> None: ...

    def run_resumed(self, trial: TrialState, run: RunState) -> None: ...

    def run_reported(self, run: RunState, progress: int, metrics: Mapping[str, float]) -> None: ...

    def run_ended(self, trial: TrialState, run: RunState, outcome: str, error: Mapping[str, str] | None) -> None: ...

    def sweep_ended(self, status: str) -> None: ...


class MlflowTelemetry:
    """Tells a :class:`Tracker`. ``identity`` makes run keys unique among all sweeps of a store."""

    def __init__(self, tracker: Tracker, specification: SweepSpecification, identity: str, folder: Path) -> None:
        self.tracker = tracker
        self.specification = specification
        self.identity = identity
        self.folder = folder
        self._spaces = {space.name: space for space in specification.spaces}

    def key(self, run: str) -> str:
        return f"{self.identity}/{run}"

    def sweep_opened(self) -> None:
        specification = self.specification
        tags = {"memsweep.sweep": specification.name, "memsweep.kind": "sweep", "memsweep.task": specification.task_type.name}
        objective = specification.objective
        params = {
            "task": specification.task_type.name,
            "objective": f"{objective.mode} {objective.metric}",
            "sampler": specification.search.sampler,
            "scheduler": specification.scheduler.name,
            "seed": specification.search.seed,
        }
        self.tracker.open_sweep(self.key(PARENT), specification.name, tags, params)
        self.tracker.log_artifact(self.key(PARENT), self.folder / "space.yaml")

    def run_started(self, trial: TrialState, run: RunState) -> None:
        space = self.space(trial)
        seed = run.seed if self.specification.search.replicates > 1 else None
        tags = {
            "memsweep.sweep": self.specification.name,
            "memsweep.kind": "run",
            "memsweep.task": self.specification.task_type.name,
            "memsweep.study": trial.study,
            "memsweep.entry": trial.entry,
            "memsweep.architecture": trial.architecture,
            "memsweep.trial": trial.id,
            "memsweep.seed": run.seed,
            "memsweep.fingerprint": trial.fingerprint,
        }
        params = {"entry": trial.entry, "architecture": trial.architecture, **compared_parameters(space, trial.configuration)}
        name = run_name(space, trial.configuration, seed)
        self.tracker.open_run(self.key(run.id), name, tags, params, self.key(PARENT))

    def run_resumed(self, trial: TrialState, run: RunState) -> None:
        """The same MLflow run goes on: opening finds it by its key."""
        self.run_started(trial, run)
        self.tracker.reopen_run(self.key(run.id))

    def sweep_resumed(self) -> None:
        self.sweep_opened()
        self.tracker.reopen_run(self.key(PARENT))

    def run_reported(self, run: RunState, progress: int, metrics: Mapping[str, float]) -> None:
        self.tracker.log_metrics(self.key(run.id), metrics, progress)

    def run_ended(self, trial: TrialState, run: RunState, outcome: str, error: Mapping[str, str] | None) -> None:
        tags = {"outcome": outcome}
        if error:
            tags |= {"error": f"{error['type']}: {error['message']}", "traceback": error["traceback"]}
        self.tracker.set_tags(self.key(run.id), tags)
        self.tracker.close_run(self.key(run.id), OUTCOMES[outcome].mlflow_status)  # type: ignore[arg-type]

    def sweep_ended(self, status: str) -> None:
        self.tracker.close_run(self.key(PARENT), status)  # type: ignore[arg-type]

    def space(self, trial: TrialState) -> StudySpace:
        return self._spaces[trial.space]
