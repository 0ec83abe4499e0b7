"""Conducts a sweep whose record is open: tracker, inputs, executor, views, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.options import LaunchOptions, LaunchResult, TrackingElsewhere
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.execute import execute
from orchestrator.ray_executor.resources import Allocation, ResourceError, allocate
from orchestrator.record import Journal
from orchestrator.report.write import write_report
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.consistency import consistent_state
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import prepare_inputs
from orchestrator.sweep.state import RunState, TrialState
from orchestrator.sweep.study_view import StudyView
from orchestrator.sweep.telemetry import PARENT, MlflowTelemetry
from orchestrator.sweep.tidying import Tidying
from orchestrator.sweep.warm_start import warm_start_event
from orchestrator.tracking import Tracker

DELIVERY_PATIENCE_S = 60.0
"""How long the end of a sweep waits for the tracker before it leaves the rest to ``memsweep sync``."""


@dataclass(frozen=True)
class OpenSweep:
    """A sweep about to go on: its record is open, ``events`` is what stands in it."""

    specification: SweepSpecification
    folder: SweepFolder
    journal: Journal
    events: list[dict[str, Any]]

    def record(self, event: Mapping[str, Any], durable: bool = True) -> int:
        """Adds an event that no controller writes, with its time; returns its position."""
        timed = {**event, "time": round(time.time(), 3)}
        self.events.append(timed)
        return self.journal.append(timed, durable)


def conduct(sweep: OpenSweep, allocation: Allocation, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Runs to the end, or to Ctrl-C."""
    with tracked(sweep, options.tracking_uri) as telemetry:
        controller = SweepController(
            sweep.specification,
            sweep.folder,
            sweep.journal,
            telemetry,
            events=sweep.events,
            listener=lambda trial, run: ended(trial, run),
            warn=observer.warned,
        )
        tidying = Tidying(controller)

        def ended(trial: TrialState, run: RunState) -> None:
            tidying.ended(run.id)
            observer.run_ended(controller, trial, run)

        slowest, interrupted = _drive(controller, allocation, observer)
        tidying.all_ended()
        write_report([sweep.folder], sweep.folder.report)
        end = {"kind": "end", "interrupted": interrupted}
        position = sweep.record(end)
        telemetry.tell(sweep.events[-1], controller.state, position)
        tracker = telemetry.tracker
        observer.delivering(tracker.pending)
        tracker.close(DELIVERY_PATIENCE_S)
        completed = sum(trial.outcome == "completed" and trial.kept for trial in controller.state.trials.values())
        undelivered = max(tracker.pending, position - tracker.delivered)
        return LaunchResult(sweep.folder, completed, interrupted, undelivered, tracker.last_error, slowest)


def allocation_for(specification: SweepSpecification, cluster: ClusterResources) -> Allocation:
    """What each run gets and how many run at once.

    Raises:
        ResourceError: the cluster cannot hold a single run, or has not what the objective measures.
    """
    metrics = [objective.metric for objective in specification.objectives]
    for metric in (*metrics, *(soft.metric for soft in specification.measured)):
        if metric.startswith("vram/") and not cluster.gpus:
            raise ResourceError(f"`{metric}` needs a GPU and there is none here: without one, use memory/peak_host_mib")
    return allocate(specification.resources, cluster)


def warm_up(sweep: OpenSweep, options: LaunchOptions, observer: SweepObserver) -> None:
    """Records what the sweeps of ``search.warm_start`` have to tell, unless it was recorded before."""
    known = {event["source"] for event in sweep.events if event["kind"] == "warm_start"}
    for source in sweep.specification.search.warm_start:
        if source not in known:
            event = warm_start_event(sweep.specification, source, options.storage)
            observer.warmed(source, len(event["trials"]), event["outside"])
            sweep.record(event)


def refuse_tracking_elsewhere(folder: SweepFolder, header: Mapping[str, Any], tracking_uri: str | None) -> None:
    """A URI may hold a password, so the record knows only that there was one."""
    if header.get("own_tracking") and tracking_uri is None:
        raise TrackingElsewhere(f"the runs of `{folder.name}` are tracked elsewhere: give the same --tracking-uri as before")


@contextlib.contextmanager
def tracked(sweep: OpenSweep, tracking_uri: str | None, everything: bool = False) -> Iterator[MlflowTelemetry]:
    """The tracker of a sweep, which has been handed what an earlier process could not deliver (or ``everything``)."""
    specification, folder = sweep.specification, sweep.folder
    known = {event["run"]: event["tracking_id"] for event in sweep.events if event["kind"] == "tracking"}

    def note_run_id(key: str, tracking_id: str) -> None:
        name = key.rpartition("/")[2]
        run = None if name == PARENT else name
        if known.get(run) != tracking_id:
            known[run] = tracking_id
            sweep.journal.append({"kind": "tracking", "run": run, "tracking_id": tracking_id})

    tracker = Tracker(
        folder.spool,
        tracking_uri or folder.default_tracking_uri,
        specification.tracking.experiment or specification.name,
        folder.artifact_location if tracking_uri is None else None,
        note_run_id,
        afresh=True,
    )
    try:
        if everything:
            tracker.forget_deliveries()
        elif tracker.delivered > len(sweep.events):  # a loss of power has cost the record its tail
            tracker.forget_deliveries(len(sweep.events))
        telemetry = MlflowTelemetry(tracker, specification, sweep.events[0]["identity"], folder.path)
        consistent_state(specification, sweep.events, folder.record)
        telemetry.tell_again(sweep.events)
        yield telemetry
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
