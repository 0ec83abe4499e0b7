"""A worker that is silent for too long is killed and its run goes on from its last checkpoint; more than three times it fails."""

from __future__ import annotations

from typing import Any

import pytest
from small_sweeps import Finished, run_sweep, small_space

from orchestrator.record import read_journal

EPOCHS = 8
STALL_TIMEOUT_S = 3.0
DEATHS = 4


@pytest.fixture(scope="module")
def sweep(ray_session: None, faults: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    notes = tmp_path_factory.mktemp("notes")
    stalling = {fault: {"architecture": "faulty", "fault": fault, "notes": str(notes)} for fault in ("stops_once", "stops")}
    document = small_space(
        name="stalls",
        architectures=stalling,
        model={"dim": 8, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
        training={"batch_size": 32, "epochs": EPOCHS},
        constraints=None,
        checkpoints={"interval": 1e-6},
        resources={"stall_timeout": STALL_TIMEOUT_S},
    )
    return run_sweep(tmp_path_factory.mktemp("stalls"), document)


def begins(sweep: Finished, entry: str) -> list[int]:
    """The steps from which the workers of an entry's run went on, one for each life."""
    events = read_journal(sweep.result.folder.record)
    return [event["continued_from"] for event in events if event["kind"] == "begin" and event["run"].startswith(f"{entry}-")]


def run_of(sweep: Finished, entry: str) -> Any:
    (run,) = (run for run in sweep.data.state.runs.values() if sweep.data.state.trials[run.trial].entry == entry)
    return run


def test_a_worker_that_is_stopped_once_is_killed_and_its_run_completes_from_its_checkpoint(sweep: Finished) -> None:
    run = run_of(sweep, "stops_once")
    assert (run.outcome, run.progress) == ("completed", EPOCHS)
    assert begins(sweep, "stops_once") == [0, 1]
    assert list(run.curve) == list(range(1, EPOCHS + 1))


def test_a_worker_that_stops_in_every_life_fails_at_the_fourth(sweep: Finished) -> None:
    run = run_of(sweep, "stops")
    assert (run.outcome, run.progress) == ("failed", DEATHS)
    assert begins(sweep, "stops") == [0, 1, 2, 3]
    error = sweep.children[run.id].data.tags["error"]
    assert error.startswith(f"WorkerDied: the worker process died {DEATHS} times, the last time: it was silent for ")


def test_nobody_else_was_killed(sweep: Finished) -> None:
    assert {run.outcome for run in sweep.data.state.runs.values()} == {"completed", "failed"}
