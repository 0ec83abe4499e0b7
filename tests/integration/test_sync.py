"""`memsweep sync`: whatever happened to the store, the spool or the driver, MLflow comes to hold what the record says."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from recorded_in_mlflow import Told, assert_mlflow_tells_the_record, rows, runs_in_mlflow
from search_space_text import specified

from orchestrator.command_line.app import run as command
from orchestrator.launch import tracked as launch_tracked
from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.tracked import tracked
from orchestrator.record import Journal, checked_events
from orchestrator.space.specification import renamed
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.state import Event, SweepState
from orchestrator.sweep.telemetry import MlflowTelemetry
from orchestrator.tracking import Tracker
from orchestrator.tracking.spool import Spool

sys.path.append(str(Path(__file__).parents[1] / "sweep"))
from simulation import Killed, Script, Simulation, by_structure, space

EXPERIMENT = "s"
SPACE = space("{trials: 2, sampler: random}", **{"epochs: 6": "epochs: 2"})
"""Two entries of two trials of two epochs."""


class Mortal:
    """Tells MLflow so many events; the driver dies before it tells the next one, which stands in the record."""

    def __init__(self, telemetry: MlflowTelemetry, events_left: float) -> None:
        self.telemetry = telemetry
        self.events_left = events_left

    def tell(self, event: Event, state: SweepState, position: int) -> None:
        if self.events_left <= 0:
            raise Killed
        self.events_left -= 1
        self.telemetry.tell(event, state, position)
        if position % 3 == 0:
            assert self.telemetry.tracker.flush(60)


class TrackedLife(Simulation):
    """A life of a driver on a sweep that is tracked; the clock goes on from the last event's time."""

    def __init__(self, sweep: OpenSweep, telemetry: Any) -> None:
        self.folder = sweep.folder
        self.scripts = eventful
        self.concurrency = 2
        self.active = []
        ticks = itertools.count(sweep.events[-1]["time"] + 1)
        arguments = (sweep.specification, sweep.folder, sweep.journal, telemetry)
        self.controller = SweepController(*arguments, events=sweep.events, clock=lambda: next(ticks))


def eventful(request: Any) -> Script:
    """The second trial of each entry fails."""
    script = by_structure(request)
    return Script(script.curve, 2, "failed") if request.run.endswith("-0001-s0") else script


def begun(storage: Path) -> SweepFolder:
    """A sweep of which only the first event is recorded."""
    folder = SweepFolder(storage / "s")
    folder.path.mkdir()
    folder.space.write_text(SPACE)
    header = {"kind": "sweep", "format": 1, "name": "s", "identity": "abc", "version": "0", "task": "mqar"}
    with Journal(folder.record) as journal:
        journal.append(header | {"space": SPACE, "own_tracking": False, "time": 1.5})
    return folder


def live(folder: SweepFolder, events_left: float = float("inf")) -> None:
    """One life of the driver, up to so many events or to the end."""
    with Journal(folder.record) as journal:
        events = checked_events(folder.record)
        sweep = OpenSweep(renamed(specified(SPACE), "s"), folder, journal, events)
        if len(events) > 1:
            resumed = {"kind": "resume", "trials": None, "version": "0", "time": events[-1]["time"] + 1}
            events.append(resumed)
            journal.append(resumed)
        with tracked(sweep, None) as telemetry:
            life = TrackedLife(sweep, Mortal(telemetry, events_left))
            life.run()
            end = {"kind": "end", "interrupted": False, "time": 1000.0}
            telemetry.tell(end, life.controller.state, journal.append(end))
            assert telemetry.tracker.flush(60)


@pytest.fixture(scope="module", autouse=True)
def flushes_when_asked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch_tracked, "Tracker", functools.partial(Tracker, interval_s=3600.0))
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with tables and no runs."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def storage(tmp_path: Path, template: Path) -> Path:
    shutil.copy(template, tmp_path / "mlflow.db")
    return tmp_path


def assert_synchronized(folder: SweepFolder) -> dict[str, Told]:
    return assert_mlflow_tells_the_record(folder, folder.default_tracking_uri, EXPERIMENT)


def sync(folder: SweepFolder, *options: str) -> int:
    return command(["sync", str(folder.path), *options])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, template: Path) -> SweepFolder:
    """A sweep whose driver was killed once, resumed, and delivered all."""
    storage = tmp_path_factory.mktemp("whole")
    shutil.copy(template, storage / "mlflow.db")
    folder = begun(storage)
    with pytest.raises(Killed):
        live(folder, 12)
    live(folder)
    return folder


@pytest.fixture
def sweep(whole: SweepFolder, tmp_path: Path) -> SweepFolder:
    shutil.copytree(whole.path.parent, tmp_path, dirs_exist_ok=True)
    return SweepFolder(tmp_path / "s")


def store_of(folder: SweepFolder) -> dict[str, list[tuple[Any, ...]]]:
    database = folder.path.parent / "mlflow.db"
    return {table: rows(database, table) for table in ("runs", "metrics", "latest_metrics", "params", "tags")}


def test_what_is_told_while_the_sweep_runs_is_what_the_record_says(sweep: SweepFolder) -> None:
    runs = assert_synchronized(sweep)
    assert len(runs) == 5 and {run.status for run in runs.values()} == {"FINISHED", "FAILED"}


def test_a_lost_store_is_rebuilt_from_the_record(sweep: SweepFolder, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = assert_synchronized(sweep)
    shutil.copy(template, sweep.path.parent / "mlflow.db")
    assert sync(sweep, "--all") == 0
    assert assert_synchronized(sweep) == before
    assert capsys.readouterr().out == "everything that s recorded is in MLflow\n"


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_delivering_again_and_again_changes_nothing(sweep: SweepFolder, options: list[str]) -> None:
    before, record = store_of(sweep), sweep.record.read_bytes()
    for _ in range(5):
        assert sync(sweep, *options) == 0
    assert store_of(sweep) == before
    assert sweep.record.read_bytes() == record
    assert not (sweep.spool / "rejected.jsonl").exists()


def test_a_spool_that_was_deleted_is_no_loss(sweep: SweepFolder, template: Path) -> None:
    shutil.copy(template, sweep.path.parent / "mlflow.db")
    shutil.rmtree(sweep.spool)
    assert sync(sweep) == 0
    assert_synchronized(sweep)


def test_while_a_driver_is_at_work_it_is_refused(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = store_of(sweep)
    with Journal(sweep.record):
        assert sync(sweep) == sync(sweep, "--all") == 2
    assert "another driver is at work" in capsys.readouterr().err
    assert store_of(sweep) == before


def test_a_sweep_tracked_elsewhere_asks_for_its_uri(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = begun(storage)
    events = checked_events(folder.record)
    folder.record.unlink()
    with Journal(folder.record) as journal:
        journal.append({name: value for name, value in events[0].items() if name != "checksum"} | {"own_tracking": True})
    assert sync(folder) == 2
    assert "give the same --tracking-uri as before" in capsys.readouterr().err
    assert sync(folder, "--tracking-uri", folder.default_tracking_uri) == 0
    assert len(runs_in_mlflow(folder.default_tracking_uri, EXPERIMENT)) == 1


def test_a_space_that_a_crash_kept_from_being_written_is_uploaded(storage: Path) -> None:
    folder = begun(storage)
    folder.space.unlink()
    assert sync(folder) == 0
    (run,) = runs_in_mlflow(folder.default_tracking_uri, EXPERIMENT)
    assert [file.path for file in MlflowClient(folder.default_tracking_uri).list_artifacts(run.info.run_id)] == ["space.yaml"]


def test_an_edit_changes_no_param_that_mlflow_holds(sweep: SweepFolder, template: Path) -> None:
    edited = SPACE.replace("scheduler: none", "scheduler: median")
    assert edited != SPACE
    with Journal(sweep.record) as journal:
        event = {"kind": "edit", "space": edited, "trials": None, "kept": {}, "version": "0", "time": 2000.0}
        journal.append(event)
    assert sync(sweep, "--all") == 0
    before = assert_synchronized(sweep)
    assert not (sweep.spool / "rejected.jsonl").exists()
    shutil.copy(template, sweep.path.parent / "mlflow.db")
    assert sync(sweep, "--all") == 0
    assert assert_synchronized(sweep) == before


def test_a_record_that_lost_its_tail_is_handed_over_from_there(sweep: SweepFolder, template: Path) -> None:
    (sweep.spool / "delivered").write_text((sweep.spool / "delivered").read_text().replace('"events": ', '"events": 9'))
    with Journal(sweep.record) as journal:
        journal.append({"kind": "resume", "trials": None, "version": "0", "time": 1001.0})
    assert sync(sweep) == 0
    with Journal(sweep.record) as journal:
        journal.append({"kind": "end", "interrupted": True, "time": 1002.0})
    assert sync(sweep) == 0
    assert assert_synchronized(sweep)["abc/sweep"].status == "KILLED"


@contextlib.contextmanager
def full_disk_for(appends: range) -> Iterator[None]:
    """The spool can write nothing for some of its operations, counted from 0."""
    append, counter = Spool.append, itertools.count()

    def full_for_a_while(spool: Spool, operation: Any) -> None:
        if next(counter) in appends:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(spool, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Spool, "append", full_for_a_while)
        yield


@pytest.mark.parametrize("full", [range(0, 3), range(8, 15), range(0, 10_000)])
def test_what_a_full_disk_kept_out_of_the_spool_is_delivered_by_sync(storage: Path, full: range) -> None:
    folder = begun(storage)
    with full_disk_for(full), Journal(folder.record) as journal:
        sweep = OpenSweep(renamed(specified(SPACE), "s"), folder, journal, checked_events(folder.record))
        with tracked(sweep, None) as telemetry:
            TrackedLife(sweep, telemetry).run()
            assert telemetry.tracker.flush(60)
            assert telemetry.tracker.lost and telemetry.tracker.delivered == 0
            assert "No space left" in (telemetry.tracker.last_error or "")
    assert sync(folder) == 0
    assert_synchronized(folder)


def test_a_server_that_is_not_there_is_told_and_nothing_is_lost(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch_tracked, "DELIVERY_PATIENCE_S", 0.5)
    assert sync(sweep, "--tracking-uri", "http://ann:the-password@127.0.0.1:9") == 1
    told = capsys.readouterr()
    assert "events could not be delivered" in told.err and "try again later" in told.err
    assert told.out == "" and "the-password" not in told.err and len(told.err.splitlines()) == 1


def killed_and_resumed(storage: Path, events_left: int) -> SweepFolder:
    folder = begun(storage)
    with pytest.raises(Killed):
        live(folder, events_left)
    live(folder)
    return folder


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_killed_between_the_record_and_the_tracker_at_any_event_nothing_is_lost(
    every: int, tmp_path: Path, template: Path
) -> None:
    """The event at which the driver dies is in the record and nowhere else."""
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    shutil.copy(template, undisturbed / "mlflow.db")
    folder = begun(undisturbed)
    live(folder)
    expected = {key: run.without_times() for key, run in assert_synchronized(folder).items()}
    told = sum(event["kind"] not in ("sweep", "tracking", "end") for event in checked_events(folder.record))
    assert told >= 30
    for events_left in range(0, told, every):
        storage = tmp_path / f"killed-{events_left}"
        storage.mkdir()
        shutil.copy(template, storage / "mlflow.db")
        found = assert_synchronized(killed_and_resumed(storage, events_left))
        assert {key: run.without_times() for key, run in found.items()} == expected, events_left
        shutil.rmtree(storage)


@pytest.fixture
def tracker(storage: Path) -> Iterator[Tracker]:
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    tracker = Tracker(storage / "spool", uri, EXPERIMENT, interval_s=3600.0)
    yield tracker
    tracker.close(0.0)


def test_a_run_without_a_name_is_named_by_its_key(storage: Path, tracker: Tracker) -> None:
    """MLflow would choose one, and its database refuses that beside the empty one, again and again."""
    tracker.open_run("s/1", "", {}, {})
    assert tracker.flush(60)
    (run,) = runs_in_mlflow(f"sqlite:///{storage / 'mlflow.db'}", EXPERIMENT)
    assert run.info.run_name == "s/1"


def test_tags_of_a_run_that_is_opened_twice_in_one_flush_are_kept(storage: Path, tracker: Tracker) -> None:
    tracker.open_run("s", "n", {"memsweep.kind": "sweep", "state": "first"}, {})
    tracker.open_run("s", "n", {"state": "second"}, {})
    assert tracker.flush(60)
    (run,) = runs_in_mlflow(f"sqlite:///{storage / 'mlflow.db'}", EXPERIMENT)
    assert (run.data.tags["memsweep.kind"], run.data.tags["state"]) == ("sweep", "second")


def test_a_tracker_that_is_closed_during_an_outage_still_says_why(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path / "spool", "http://127.0.0.1:9", EXPERIMENT, interval_s=0.01)
    tracker.open_run("s", "n", {}, {})
    assert not tracker.close(0.5)
    assert "refused" in (tracker.last_error or "")
