"""The quarantine and the survey on a real Ray, whose GPUs are declared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "quarantine_on_ray.py"


@pytest.fixture
def short_folder() -> Iterator[str]:
    """Ray's sockets lie beneath it, and their paths are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="q", ignore_cleanup_errors=True) as folder:
        yield folder


def told_by(what: str, tmp_path: Path, ray_folder: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CUDA_"))}
    environment |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["RAY_raylet_start_wait_time_s"] = "120"  # on a busy machine
    command = [sys.executable, str(PROGRAM), what, str(tmp_path / "artifacts"), ray_folder]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


@pytest.mark.long
def test_a_gpu_that_keeps_memory_is_named_gets_no_runs_and_comes_back(tmp_path: Path, short_folder: str) -> None:
    told = told_by("quarantine", tmp_path, short_folder)
    assert told["at hand"] == "r1#1"
    label, text, gpu = told["warning"]
    assert label == "r1#1" and gpu in text and "4,876 MiB" in text and "of the others, 1 still get runs" in text
    assert told["held beside an idle worker"] == 0, "its process holds the GPU"
    assert "exit_actor() is called" in told["refused"], "which the bridge takes for a process that asks to be replaced"
    assert told["elsewhere"] and told["released"] == ["r1#1", f"the memory of {gpu} has returned: it gets runs again"]
    assert told["after"], "the GPU is used again"


@pytest.mark.long
def test_a_task_without_gpus_sees_those_of_its_node_and_who_is_gone(tmp_path: Path, short_folder: str) -> None:
    told = told_by("survey", tmp_path, short_folder)
    assert told["visible"] == "4,7"
    assert told["gpus"] == [] and told["name"] == "7", "here is no driver, so that nothing is known"
    assert told["read"] == [[], [True, True], ["no node"]]
