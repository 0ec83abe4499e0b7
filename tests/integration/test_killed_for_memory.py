"""Ray's memory monitor kills a run's process: that run alone ends, as out of memory, though Tune falls over it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.record import read_journal

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo")
def test_a_run_that_is_killed_for_memory_is_not_trained_again_and_the_others_complete(tmp_path: Path) -> None:
    program = [sys.executable, str(HERE / "memory_monitor_sweep.py"), str(tmp_path)]
    subprocess.run(program, check=True, timeout=240, env={**os.environ, "PYTHONPATH": str(HERE)}, stdout=subprocess.DEVNULL)
    events = read_journal(tmp_path / "memory" / "record.jsonl")
    outcomes = {event["run"]: event["outcome"] for event in events if event["kind"] == "outcome"}
    assert outcomes == {
        "grows-0000-s0": "oom", "grows-0001-s0": "oom", "plain-0000-s0": "completed", "plain-0001-s0": "completed",
    }  # fmt: skip
    errors = [event["error"]["message"] for event in events if event["kind"] == "outcome" and event["outcome"] == "oom"]
    assert all("running low on memory" in error for error in errors)
    lives = Counter(event["run"] for event in events if event["kind"] == "begin")
    assert lives["plain-0000-s0"] + lives["plain-0001-s0"] <= 4, "who is not to blame goes on, perhaps in another process"
