"""Processes that die: what they spooled is delivered once by the next one; what they print and write is nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracked_sweep import assert_sweep_recorded, local_location

from orchestrator.tracking import StoreLocation, Tracker

TrackerFactory = Callable[..., Tracker]

_PROGRAM = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from orchestrator.tracking import Tracker

def told(run_key, mlflow_run_id):
    if run_key == {die_at!r}:
        os.kill(os.getpid(), signal.SIGKILL)

tracker = Tracker(Path({spool!r}), {uri!r}, "experiment", {artifacts!r}, on_run_id=told, interval_s=3600)
assert "mlflow" not in sys.modules
{body}
"""
_RECORD = "from tracked_sweep import record_sweep; record_sweep(tracker, 's', Path({artifact!r}))"


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a process that opens a tracker and executes ``body``, in an empty working folder."""

    def run(location: StoreLocation, body: str, die_at: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "table.md").write_text("results")
        (tmp_path / "elsewhere").mkdir()
        program = _PROGRAM.format(
            helpers=str(Path(__file__).parent),
            spool=str(tmp_path / "spool"),
            uri=location.tracking_uri,
            artifacts=location.artifact_location,
            die_at=die_at,
            body=body.format(artifact=str(tmp_path / "table.md")),
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        repository = str(Path(__file__).parents[2])
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path / "elsewhere",
            env=environment | {"PYTHONPATH": repository},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize("die_at", ["s", "s/2"])
def test_killed_between_creating_a_run_and_recording_it(
    die_at: str, location: StoreLocation, tracker_on: TrackerFactory, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    died = run_program(location, _RECORD + "; tracker.flush(60)", die_at)
    assert died.returncode == -signal.SIGKILL, died.stderr
    client = MlflowClient(location.tracking_uri)
    created = client.search_runs([client.get_experiment_by_name("experiment").experiment_id])
    assert len(created) == {"s": 1, "s/2": 3}[die_at]
    tracker = tracker_on(location)
    assert tracker.pending == 27 and tracker.flush(60)
    assert_sweep_recorded(client, "experiment", "s")


def test_killed_before_any_delivery(
    location: StoreLocation, tracker_on: TrackerFactory, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    died = run_program(location, _RECORD + "; os.kill(os.getpid(), signal.SIGKILL)")
    assert died.returncode == -signal.SIGKILL, died.stderr
    tracker = tracker_on(location)
    assert tracker.pending == 27 and tracker.flush(60)
    assert_sweep_recorded(MlflowClient(location.tracking_uri), "experiment", "s")


def test_a_fresh_store_is_made_without_a_word(
    tmp_path: Path, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    location = local_location(tmp_path, "experiment")
    ended = run_program(location, _RECORD + "; assert tracker.close(60), tracker.last_error")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert_sweep_recorded(MlflowClient(location.tracking_uri), "experiment", "s")
