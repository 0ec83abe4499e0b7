"""A driver that is killed and resumed: nothing is lost, nothing is run or told twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import Finished, finished, small_space, write_space

from orchestrator.launch import LaunchOptions, SweepObserver, TrackingElsewhere, resume
from orchestrator.record import Journal, JournalInUse, read_journal
from orchestrator.sweep.folder import SweepFolder

EPOCHS = 12
HEADER = {
    "kind": "sweep",
    "format": 1,
    "name": "small",
    "identity": "abc",
    "version": "0",
    "task": "mqar",
    "space": "",
    "own_tracking": False,
}
"""The least that a record begins with."""


def killed_sweep(storage: Path) -> SweepFolder:
    """The folder of a sweep whose driver, with all its processes, was killed when its first run had ended."""
    document = small_space(training={"lr": {"float": [1e-3, 1e-2], "log": True}, "epochs": EPOCHS})
    document["task"]["train_examples"] = 2048
    space = write_space(storage, document)
    arguments = [sys.executable, "-m", "orchestrator", "run", str(space), "--storage", str(storage), "--yes"]
    process = subprocess.Popen(
        arguments, cwd=storage, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    folder = SweepFolder(storage / "small")
    try:
        wait_for(folder.record, "outcome", process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return folder


def wait_for(record: Path, kind: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if record.exists() and any(event["kind"] == kind for event in read_journal(record)):
            return
        time.sleep(0.1)
    raise AssertionError(f"the sweep did not come as far as one {kind}")


def go_on(folder: SweepFolder, trials: int | None = None) -> Finished:
    options = LaunchOptions(folder.path.parent, folder.name)
    return finished(resume(folder, trials, options, SweepObserver()))


def of_kind(folder: SweepFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_journal(folder.record) if event["kind"] == kind]


def assert_whole(sweep: Finished, trials: int) -> None:
    """Every run completed once, with one MLflow run and one history without a gap or a repeat."""
    runs = sweep.data.state.runs
    assert len(runs) == 3 * trials and {run.outcome for run in runs.values()} == {"completed"}
    assert sweep.children.keys() == runs.keys()
    for child in sweep.children.values():
        history = sweep.client.get_metric_history(child.info.run_id, "val/loss")
        assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))
        assert child.info.status == "FINISHED"
    assert sweep.parent.info.status == "FINISHED"


def test_a_killed_driver_is_resumed_and_then_given_more_trials(ray_session: None, tmp_path: Path) -> None:
    folder = killed_sweep(tmp_path)
    done = {event["run"] for event in of_kind(folder, "outcome")}
    in_flight = {event["run"] for event in of_kind(folder, "start")} - done
    assert done and in_flight
    assert_whole(go_on(folder), trials=2)
    starts = [event["run"] for event in of_kind(folder, "start")]
    assert {run for run in starts if starts.count(run) == 2} == in_flight
    told = [(event["study"], event["number"]) for event in of_kind(folder, "told")]
    assert len(told) == len(set(told)) == 6
    before = read_journal(folder.record)
    assert_whole(go_on(folder), trials=2)
    assert len(of_kind(folder, "start")) == len(starts), "a finished sweep starts nothing"
    assert_whole(go_on(folder, trials=3), trials=3)
    assert read_journal(folder.record)[: len(before)] == before


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "small")
    folder.path.mkdir()
    with Journal(folder.record) as journal:
        journal.append(HEADER)
        with pytest.raises(JournalInUse, match="another driver is at work"):
            resume(folder, None, LaunchOptions(tmp_path, "small"), SweepObserver())


def test_a_sweep_tracked_elsewhere_asks_for_its_uri(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "small")
    folder.path.mkdir()
    with Journal(folder.record) as journal:
        journal.append(HEADER | {"own_tracking": True})
    with pytest.raises(TrackingElsewhere, match="--tracking-uri"):
        resume(folder, None, LaunchOptions(tmp_path, "small"), SweepObserver())
    with Journal(folder.record):
        """The refusal has let go of the record."""
