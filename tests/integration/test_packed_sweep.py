"""Runs packed on declared GPUs under Ray Tune: shares, lack of memory, the quarantine, Ctrl-C, all in one Ray of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROUNDING = 1e-9
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return seen_by("packed", tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def quarantined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return seen_by("quarantined", tmp_path_factory.mktemp("quarantined"))


def seen_by(scenario: str, storage: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CUDA_"))}
    environment |= {"HOME": str(storage), "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "120"}
    environment["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in (HERE, *sys.path) if folder)
    with tempfile.TemporaryDirectory(prefix="p", ignore_cleanup_errors=True) as ray_folder:  # paths of sockets are short
        program = [sys.executable, str(HERE / "packed_sweeps.py"), str(storage), ray_folder, scenario]
        ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])[scenario]
    return found


def begins(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The beginning of each attempt, by its label."""
    return {one["label"]: one for one in told["notes"] if one["kind"] == "begin"}


def test_shares_of_a_gpu_in_use_are_never_more_than_the_whole(packed: dict[str, Any]) -> None:
    at_work: dict[str, tuple[str, float]] = {}
    for one in sorted(packed["notes"], key=lambda one: one["time"]):
        at_work.pop(one.get("run") or one["label"].partition("#")[0], None)
        if one["kind"] == "begin":
            (gpu,) = one["gpus"]
            at_work[one["label"].partition("#")[0]] = (gpu, one["share"])
        in_use: dict[str, float] = defaultdict(float)
        for gpu, share in at_work.values():
            in_use[gpu] += share
        assert max(in_use.values(), default=0.0) <= 1 + ROUNDING


def test_runs_of_each_size_get_its_share_in_processes_that_serve_one_after_another(packed: dict[str, Any]) -> None:
    begun = begins(packed)
    shares = {label: one["share"] for label, one in begun.items() if label.startswith(("small", "large"))}
    assert len(shares) == 6 and {shares["small-0000-s0#1"], shares["large-0000-s0#1"]} == {0.25, 0.3333}
    assert all(share == shares[f"{label.partition('-')[0]}-0000-s0#1"] for label, share in shares.items()), "those that wait too"
    processes = {begun[label]["pid"] for label in shares}
    assert len(processes) < len(shares), "one is handed on"
    by_process = defaultdict(set)
    for one in begun.values():
        by_process[one["pid"]].add(one["share"])
    assert all(len(of_one) == 1 for of_one in by_process.values())


def test_a_lack_of_memory_is_tried_once_more_with_more_where_that_fits(packed: dict[str, Any]) -> None:
    """Ctrl-C came in the second attempt of the one that succeeds."""
    begun = begins(packed)
    assert not packed["groups"] and packed["first"]["interrupted"] and not packed["last"]["interrupted"]
    outcomes = {run.partition("-")[0]: outcome for run, outcome in packed["last"]["outcomes"].items()}
    assert outcomes == {"small": "completed", "large": "completed", "hungry": "completed", "insatiable": "oom", "huge": "oom"}
    assert sorted(packed["last"]["retries"]) == [["hungry-0000-s0", 2500.0], ["insatiable-0000-s0", 2500.0]]
    assert begun["hungry-0000-s0#1"]["share"] == 0.25 and packed["last"]["attempts"]["huge-0000-s0"] == 1
    later = [one for label, one in begun.items() if label.startswith(("hungry", "insatiable")) and not label.endswith("#1")]
    assert len(later) >= 3 and all(one["share"] == 1.0 and one["limit"] is None for one in later), "after the resumption too"


def test_runs_leave_a_gpu_in_quarantine_without_losing_a_life(quarantined: dict[str, Any]) -> None:
    first, second = quarantined["warned"]
    assert "of the others, 1 still get runs" in first and "no other GPU is left, so that runs wait" in second
    assert quarantined["first"]["warnings"] == quarantined["warned"], "in the record too"
    assert set(quarantined["last"]["outcomes"].values()) == {"completed"} and len(quarantined["last"]["outcomes"]) == 9
    assert len({gpu for one in begins(quarantined).values() for gpu in one["gpus"]}) == 2


def test_with_all_gpus_in_quarantine_the_sweep_waits_and_ends_cleanly_at_ctrl_c(quarantined: dict[str, Any]) -> None:
    assert quarantined["held"] >= 1.99
    assert quarantined["first"]["interrupted"] and "interrupted" in quarantined["first"]["outcomes"].values()
    assert not quarantined["groups"] and not quarantined["running"], "nothing is held any more"
