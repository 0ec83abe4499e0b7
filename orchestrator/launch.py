"""Runs a sweep from its specification to its end: folder, record, tracker, inputs, executor, views, report."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

import orchestrator
from orchestrator.ray_executor.cluster import ClusterResources, ray_cluster
from orchestrator.ray_executor.execute import execute
from orchestrator.ray_executor.resources import Allocation, ResourceError, allocate
from orchestrator.record import Journal
from orchestrator.report.write import write_report
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import prepare_inputs
from orchestrator.sweep.state import RunState, TrialState
from orchestrator.sweep.study_view import StudyView
from orchestrator.sweep.telemetry import PARENT, MlflowTelemetry
from orchestrator.tracking import Tracker

DELIVERY_PATIENCE_S = 60.0
"""How long the end of a sweep waits for the tracker before it leaves the rest in the spool."""

RECORD_FORMAT = 1


class SweepExists(Exception):
    """A sweep of this name is there already."""


@dataclass(frozen=True)
class LaunchOptions:
    """What the command line adds to a search space."""

    storage: Path
    name: str
    tracking_uri: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class LaunchResult:
    """How a sweep ended."""

    folder: SweepFolder
    completed_trials: int
    interrupted: bool
    undelivered: int
    """Tracking operations that are still in the spool."""
    tracking_error: str | None
    slowest_call_s: dict[str, float]


Listener = Callable[[SweepController, TrialState, RunState], None]


def create_folder(specification: SweepSpecification, options: LaunchOptions) -> SweepFolder:
    """Makes the folder of a new sweep with its ``space.yaml``.

    Raises:
        SweepExists: a sweep of that name is there; nothing is changed.
    """
    folder = _vacant_folder(options)
    for path in (folder.path, folder.trials, folder.spool, folder.artifacts, folder.tune):
        path.mkdir(parents=True, exist_ok=True)
    folder.space.write_text(_space_as_run(specification))
    return folder


def _vacant_folder(options: LaunchOptions) -> SweepFolder:
    folder = SweepFolder(options.storage / options.name)
    if folder.record.exists():
        raise SweepExists(
            f"the sweep `{options.name}` exists in {options.storage}: continue it with `memsweep resume {options.name}`, "
            "or choose another --name"
        )
    return folder


def _space_as_run(specification: SweepSpecification) -> str:
    """The text of the search space, or, where it was changed on the command line, what it came to."""
    text = specification.source.text
    if specification.changed:
        return yaml.safe_dump(dict(specification.document), sort_keys=False, allow_unicode=True)
    return text


def launch(specification: SweepSpecification, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Runs a new sweep to its end, or to Ctrl-C.

    Raises:
        SweepExists: the name is taken.
        ResourceError: the cluster cannot hold a single run, or has not what the objective measures; nothing is written then.
    """
    _vacant_folder(options)
    observer.preparing()
    with ray_cluster(options.address) as cluster:
        _refuse_unmeasurable(specification, cluster)
        return _launch_on(allocate(specification.resources, cluster), specification, options, observer)


def _launch_on(
    allocation: Allocation, specification: SweepSpecification, options: LaunchOptions, observer: SweepObserver
) -> LaunchResult:
    folder = create_folder(specification, options)
    journal = Journal(folder.record)
    identity = uuid.uuid4().hex[:12]
    header = {
        "kind": "sweep",
        "format": RECORD_FORMAT,
        "name": specification.name,
        "identity": identity,
        "version": orchestrator.__version__,
    }
    journal.append(header, durable=True)
    with _tracked(specification, folder, options, journal, identity) as telemetry:
        controller = SweepController(
            specification, folder, journal, telemetry, events=[header], listener=lambda t, r: observer.run_ended(controller, t, r)
        )
        telemetry.sweep_opened()
        slowest, interrupted = _drive(controller, allocation, observer)
        write_report([folder], folder.report)
        telemetry.tracker.log_artifact(telemetry.key(PARENT), folder.report / "table.md")
        telemetry.sweep_ended("KILLED" if interrupted else "FINISHED")
        observer.delivering(telemetry.tracker.pending)
        telemetry.tracker.close(DELIVERY_PATIENCE_S)
        journal.append({"kind": "end", "interrupted": interrupted}, durable=True)
        completed = sum(trial.outcome == "completed" for trial in controller.state.trials.values())
        return LaunchResult(folder, completed, interrupted, telemetry.tracker.pending, telemetry.tracker.last_error, slowest)


class SweepObserver:
    """What a person is shown while a sweep runs; this one shows nothing."""

    def preparing(self) -> None: ...

    def started(self, controller: SweepController, allocation: Allocation) -> None: ...

    def run_ended(self, controller: SweepController, trial: TrialState, run: RunState) -> None: ...

    def delivering(self, pending: int) -> None: ...

    def ended(self) -> None: ...


@contextlib.contextmanager
def _tracked(
    specification: SweepSpecification, folder: SweepFolder, options: LaunchOptions, journal: Journal, identity: str
) -> Iterator[MlflowTelemetry]:
    default = options.tracking_uri is None

    def note_run_id(key: str, tracking_id: str) -> None:
        run = key.rpartition("/")[2]
        journal.append({"kind": "tracking", "run": None if run == PARENT else run, "tracking_id": tracking_id})

    tracker = Tracker(
        folder.spool,
        options.tracking_uri or folder.default_tracking_uri,
        specification.tracking.experiment or specification.name,
        folder.artifact_location if default else None,
        note_run_id,
    )
    try:
        yield MlflowTelemetry(tracker, specification, identity, folder.path)
    finally:
        tracker.close(0.0)


def _drive(controller: SweepController, allocation: Allocation, observer: SweepObserver) -> tuple[dict[str, float], bool]:
    """Executes the sweep; returns the slowest call of each hook, and whether it was interrupted."""
    folder = controller.folder
    prepare_inputs(controller.specification, folder)
    view = StudyView(folder.study_view, controller.studies)
    slowest: dict[str, float] = {}
    interrupted = False
    view.start()
    observer.started(controller, allocation)
    try:
        slowest = execute(controller, allocation, folder.tune)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        observer.ended()
    for run in controller.in_flight if not interrupted else ():
        controller.on_lost(run.id, "the executor ended without a word about it")
    controller.interrupt()
    view.close()
    return slowest, interrupted


def _refuse_unmeasurable(specification: SweepSpecification, cluster: ClusterResources) -> None:
    metrics = [specification.objective.metric, *(soft.metric for soft in specification.measured)]
    for metric in metrics:
        if metric.startswith("vram/") and not cluster.gpus:
            raise ResourceError(f"`{metric}` needs a GPU and there is none here: without one, use memory/peak_host_mib")
