"""Conducts a sweep whose record is open: tracker, inputs, executor, views, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.options import LaunchOptions, LaunchResult
from orchestrator.launch.owned_telemetry import TellingWhileOwned
from orchestrator.launch.tracked import deliver, tracked
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.errors import ResourceError, StageFailed
from orchestrator.ray_executor.execute import execute
from orchestrator.ray_executor.resources import Allocation, allocate
from orchestrator.ray_executor.stages import make_shared
from orchestrator.report.write import write_report
from orchestrator.space.specification import SweepSpecification
from orchestrator.storage import Upkeep
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.inputs import other_artifacts, prepare_inputs
from orchestrator.sweep.stages import made_stages, missing_stages, shared_stages
from orchestrator.sweep.state import RunState, TrialState
from orchestrator.sweep.study_view import StudyView
from orchestrator.sweep.telemetry import MlflowTelemetry, Telemetry
from orchestrator.sweep.tidying import Tidying
from orchestrator.sweep.warm_start import warm_start_event
from trainables.prepared import remove_unfinished
from trainables.storage import StorageError


def conduct(sweep: OpenSweep, allocation: Allocation, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Runs to the end, or to Ctrl-C; writes the report and the last event, and waits a while for the tracker.

    Of ``sweep.events`` it leaves only what was recorded since: they are not needed for the days that a sweep may last.
    """
    with tracked(sweep, options.tracking_uri) as telemetry:
        controller = SweepController(
            sweep.specification,
            sweep.folder,
            sweep.journal,
            TellingWhileOwned(telemetry, sweep.upkeep),
            events=sweep.events,
            listener=lambda trial, run: ended(trial, run),
            warn=observer.warned,
            place_of=sweep.upkeep.place_of,
        )
        sweep.forget_events()
        tidying = Tidying(controller)

        def ended(trial: TrialState, run: RunState) -> None:
            tidying.ended(run.id)
            _publish(run, sweep, telemetry)
            observer.run_ended(controller, trial, run)

        slowest, interrupted, failure = _drive(
            controller, sweep.upkeep, allocation, observer, lambda: _note_shared(sweep, controller, telemetry)
        )
        tidying.all_ended()
        sweep.upkeep.all_ended(controller.state.runs.values(), sweep.specification.checkpoints.keep)
        write_report([sweep.folder], sweep.folder.report)
        sweep.upkeep.send_files([sweep.folder.report])
        position = sweep.record({"kind": "end", "interrupted": interrupted or failure is not None})
        telemetry.tell(sweep.events[-1], controller.state, position)
        tracker = telemetry.tracker
        observer.delivering(tracker.pending)
        undelivered = deliver(tracker, position)
        completed = sum(trial.outcome == "completed" and trial.kept for trial in controller.state.trials.values())
        return LaunchResult(sweep.folder, completed, interrupted, undelivered, tracker.last_error, slowest, failure)


def _publish(run: RunState, sweep: OpenSweep, telemetry: MlflowTelemetry) -> None:
    """What the run has left behind in the sweep's storage; its exhibits are told when they have come from there."""
    keep, completed = sweep.specification.checkpoints.keep, run.outcome == "completed"

    def tell_exhibits(folder: Path) -> None:
        if completed and sweep.upkeep.loss is None:
            telemetry.tracker.log_artifact(telemetry.key(run.id), folder)

    sweep.upkeep.run_ended(run, keep, tell_exhibits)


def allocation_for(specification: SweepSpecification, cluster: ClusterResources) -> Allocation:
    """What each run gets and how many run at once.

    Raises:
        ResourceError: the cluster cannot hold a single run, or has not what the objective measures.
    """
    allocation = allocate(specification.resources, cluster, grows=cluster.grows)
    for metric in (*specification.objective_names, *(soft.metric for soft in specification.measured)):
        if metric.startswith("vram/") and not allocation.gpus:
            raise ResourceError(f"`{metric}` needs a GPU and there is none here: without one, use memory/peak_host_mib")
    return allocation


def warm_up(sweep: OpenSweep, options: LaunchOptions, observer: SweepObserver) -> None:
    """Records what the sweeps of ``search.warm_start`` have to tell, unless it was recorded before."""
    known = {event["source"] for event in sweep.events if event["kind"] == "warm_start"}
    for source in sweep.specification.search.warm_start:
        if source not in known:
            event = warm_start_event(sweep.specification, source, options.storage)
            observer.warmed(source, len(event["trials"]), event["outside"])
            sweep.record(event)


class _Driven(NamedTuple):
    slowest_call_s: dict[str, float]
    interrupted: bool
    failure: str | None
    """What kept the runs from beginning."""


def _drive(
    controller: SweepController,
    upkeep: Upkeep,
    allocation: Allocation,
    observer: SweepObserver,
    note_shared: Callable[[], None],
) -> _Driven:
    """Makes what runs share, then executes the sweep."""
    folder = controller.folder
    prepare_inputs(controller.specification, folder)
    view = StudyView(folder.study_view, controller.studies)
    slowest: dict[str, float] = {}
    interrupted, failure = False, None
    view.start()
    try:
        if not controller.is_over:
            _make_shared(controller, upkeep, allocation, observer)
            note_shared()
        observer.started(controller, allocation)
        if not controller.is_over:
            slowest = execute(controller, allocation, folder.tune, observer.told)
    except KeyboardInterrupt:
        interrupted = True
    except StageFailed as failed:
        failure = str(failed)
    finally:
        observer.ended()
    note_shared()
    for run in controller.in_flight if not (interrupted or failure) else ():
        controller.on_lost(run.id, "the executor ended without a word about it")
    controller.interrupt()
    view.close()
    return _Driven(slowest, interrupted, failure)


def _make_shared(controller: SweepController, upkeep: Upkeep, allocation: Allocation, observer: SweepObserver) -> None:
    """Base models, datastores and the like, before any run asks for them.

    Raises:
        StageFailed: one could not be made, or brought to where every machine finds it.
    """
    specification, artifacts = controller.specification, controller.folder.artifacts
    remove_unfinished(artifacts)
    others = other_artifacts(controller.folder)
    missing = missing_stages(shared_stages(specification), artifacts)
    try:
        upkeep.send_inputs()
        make_shared(missing, artifacts, others, specification.files, allocation, observer.sharing, upkeep.place)
        upkeep.fetch_inputs(shared.folder_name for shared in missing)
        upkeep.send_inputs()
    except StorageError as error:
        raise StageFailed(f"what runs share cannot be brought to where they find it: {error}") from error


def _note_shared(sweep: OpenSweep, controller: SweepController, telemetry: Telemetry) -> None:
    """Records what making shared things cost, once for each."""
    for event in made_stages(sweep.folder.artifacts, controller.state.prepared):
        position = sweep.record(event)
        controller.state.apply(sweep.events[-1])
        telemetry.tell(sweep.events[-1], controller.state, position)
