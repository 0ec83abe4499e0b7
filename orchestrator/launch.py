"""Runs a sweep to its end, from its specification or from its record: tracker, inputs, executor, views, report."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import orchestrator
from orchestrator.ray_executor.cluster import ClusterResources, ray_cluster
from orchestrator.ray_executor.execute import execute
from orchestrator.ray_executor.resources import Allocation, ResourceError, allocate
from orchestrator.record import Journal, read_journal
from orchestrator.report.write import write_report
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification, renamed
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


class TrackingElsewhere(Exception):
    """A sweep cannot go on in another tracking store than its own."""


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
        allocation = allocate(specification.resources, cluster)
        folder = create_folder(specification, options)
        with Journal(folder.record) as journal:
            header = _header(specification, options)
            journal.append(header, durable=True)
            return _conduct(_Sweep(specification, folder, journal, [header]), allocation, options, observer)


def resume(folder: SweepFolder, trials: int | None, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Goes on with a sweep that was interrupted or killed, or gives a finished one more trials.

    Completed runs stay; those in flight go on from their last checkpoint, under the same MLflow runs. ``trials`` is the new total
    of each study; it holds for later resumptions too.

    Raises:
        JournalInUse: another driver is at work on it.
        TrackingElsewhere: it was tracked at a URI that is not given now.
        JournalError: the record is damaged.
        ResourceError: as for :func:`launch`.
    """
    with Journal(folder.record) as journal:
        events = read_journal(folder.record)
        if events[0].get("own_tracking") and options.tracking_uri is None:
            raise TrackingElsewhere(f"the runs of `{folder.name}` are tracked elsewhere: give the same --tracking-uri as before")
        total = trials or _last_total(events)
        specification = read_search_space(folder.space, [f"search.trials={total}"] if total else [])
        specification = renamed(specification, events[0]["name"])
        observer.preparing()
        with ray_cluster(options.address) as cluster:
            _refuse_unmeasurable(specification, cluster)
            allocation = allocate(specification.resources, cluster)
            event = {"kind": "resume", "trials": total, "version": orchestrator.__version__}
            journal.append(event, durable=True)
            return _conduct(_Sweep(specification, folder, journal, [*events, event]), allocation, options, observer)


def _last_total(events: Sequence[Mapping[str, Any]]) -> int | None:
    """The total of trials that the latest resumption gave."""
    given = [event["trials"] for event in events if event["kind"] == "resume" and event["trials"]]
    return given[-1] if given else None


@dataclass(frozen=True)
class _Sweep:
    """A sweep about to go on: its record is open, ``events`` is what stands in it."""

    specification: SweepSpecification
    folder: SweepFolder
    journal: Journal
    events: list[dict[str, Any]]

    @property
    def is_new(self) -> bool:
        return len(self.events) == 1


def _header(specification: SweepSpecification, options: LaunchOptions) -> dict[str, Any]:
    """The first event. A tracking URI may hold a password, so only whether one was given is recorded."""
    return {
        "own_tracking": options.tracking_uri is not None,
        "kind": "sweep",
        "format": RECORD_FORMAT,
        "name": specification.name,
        "identity": uuid.uuid4().hex[:12],
        "version": orchestrator.__version__,
    }


def _conduct(sweep: _Sweep, allocation: Allocation, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    folder, journal = sweep.folder, sweep.journal
    with _tracked(sweep, options) as telemetry:
        controller = SweepController(
            sweep.specification,
            folder,
            journal,
            telemetry,
            events=sweep.events,
            listener=lambda trial, run: observer.run_ended(controller, trial, run),
        )
        telemetry.sweep_opened() if sweep.is_new else telemetry.sweep_resumed()
        slowest, interrupted = _drive(controller, allocation, observer)
        write_report([folder], folder.report)
        telemetry.tracker.log_artifact(telemetry.key(PARENT), folder.report / "table.md")
        telemetry.sweep_ended("KILLED" if interrupted else "FINISHED")
        observer.delivering(telemetry.tracker.pending)
        telemetry.tracker.close(DELIVERY_PATIENCE_S)
        journal.append({"kind": "end", "interrupted": interrupted})
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
def _tracked(sweep: _Sweep, options: LaunchOptions) -> Iterator[MlflowTelemetry]:
    specification, folder, journal = sweep.specification, sweep.folder, sweep.journal
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
        yield MlflowTelemetry(tracker, specification, sweep.events[0]["identity"], folder.path)
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
        if not controller.is_over:
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
