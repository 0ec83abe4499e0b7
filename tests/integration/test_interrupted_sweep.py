"""Ctrl-C on a real sweep: the runs in flight keep a checkpoint, and a step that takes too long is not waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_sweeps import small_space, write_space

from orchestrator.record import read_journal
from orchestrator.sweep.folder import SweepFolder
from trainables.training.attempts import attempt_folder

ONE_ENTRY = {"gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": 8}}
Events = list[dict[str, Any]]


def interrupted(storage: Path, ready: Callable[[Events], bool], **sections: Any) -> SweepFolder:
    """The folder of a sweep that was interrupted, workers included, as soon as its record was ``ready``."""
    defaults = {"architectures": ONE_ENTRY, "constraints": None, "resources": {"concurrency": 2}}
    space = write_space(storage, small_space(**(defaults | sections)))
    arguments = [sys.executable, "-m", "orchestrator", "run", str(space), "--storage", str(storage), "--yes"]
    with (storage / "output").open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True)
    folder = SweepFolder(storage / "small")
    try:
        wait_until(ready, folder.record, process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 130, (storage / "output").read_text()
    finally:
        process.kill()
        process.wait()
    return folder


def wait_until(ready: Callable[[Events], bool], record: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if record.exists() and ready(read_journal(record)):
            return
        time.sleep(0.2)
    raise AssertionError("the sweep did not come as far")


def runs_with(events: Events, kind: str) -> set[str]:
    return {event["run"] for event in events if event["kind"] == kind}


def test_runs_in_flight_keep_a_checkpoint_of_their_last_step(tmp_path: Path) -> None:
    folder = interrupted(
        tmp_path,
        lambda events: len(runs_with(events, "result")) == 2,
        training={"lr": 0.001, "epochs": 1_000_000},
        checkpoints={"interval": 3600},
    )
    events = read_journal(folder.record)
    assert {event["outcome"] for event in events if event["kind"] == "outcome"} == {"interrupted"}
    assert len(runs_with(events, "start")) == 2, "nothing is started after Ctrl-C"
    for run in runs_with(events, "start"):
        reported = max(event["progress"] for event in events if event["kind"] == "result" and event["run"] == run)
        kept = torch.load(attempt_folder(folder.trials / run, 1) / "checkpoint.pt", weights_only=True)["epoch"]
        assert kept == reported


@pytest.mark.long
def test_a_step_that_takes_minutes_is_not_waited_for(tmp_path: Path) -> None:
    task = {**small_space()["task"], "vocab_size": 256, "train_examples": 200_000, "input_seq_len": 64}
    folder = interrupted(
        tmp_path,
        lambda events: len(runs_with(events, "start")) == 2,
        task=task,
        model={"dim": 64, "n_layers": 2, "n_heads": 1},
        training={"lr": 0.001, "batch_size": 8, "epochs": 10},
    )
    events = read_journal(folder.record)
    assert {event["outcome"] for event in events if event["kind"] == "outcome"} == {"interrupted"}
    assert not runs_with(events, "result") and any(event["kind"] == "end" and event["interrupted"] for event in events)
