"""A disk that is full when an event is to be recorded: the sweep stops with the cure, and goes on when there is space."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweeps import finished, small_space, write_space

from orchestrator.command_line.app import run as command
from orchestrator.launch import LaunchResult
from orchestrator.record import Journal, checked_events
from orchestrator.sweep.folder import SweepFolder

EPOCHS = 3


def test_a_full_disk_stops_the_sweep_with_the_cure_and_loses_nothing(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    space = write_space(tmp_path, small_space(training={"lr": 3e-3, "batch_size": 32, "epochs": EPOCHS}))
    folder = SweepFolder(tmp_path / "small")
    with monkeypatch.context() as full:
        full.setattr(Journal, "_write", writes_until_full(24))
        assert command(["run", str(space), "--storage", str(tmp_path), "--yes"]) == 130
    told = capfd.readouterr().err
    assert f"No space left on device ({folder.record})" in told and "memsweep resume" in told and "Traceback" not in told
    before = checked_events(folder.record)
    assert 10 < len(before) <= 24
    assert command(["resume", str(folder.path)]) == 0
    assert checked_events(folder.record)[: len(before)] == before
    whole = finished(LaunchResult(folder, 0, False, 0, None, {}))
    assert {run.outcome for run in whole.data.state.runs.values()} == {"completed"}
    for child in whole.children.values():
        history = whole.client.get_metric_history(child.info.run_id, "val/loss")
        assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))


def writes_until_full(lines: int) -> Callable[[Journal, bytes], None]:
    """The method of a journal that finds a full disk after so many lines."""
    write, left = Journal._write, [lines]

    def limited(journal: Journal, line: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(journal.path))
        write(journal, line)

    return limited
