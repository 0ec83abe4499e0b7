"""Worker processes serve one run after another, and one run's memory is not another's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from conftest import SLOTS
from small_sweeps import Finished, run_sweep, small_space

RUNS = 12
BALLAST_MIB = 400


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def sweep(ray_session: None, faults: None, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    document = small_space(
        name="reuse",
        architectures={"faulty": {"notes": str(notes), "ballast_mib": {"choice": [BALLAST_MIB, 0]}}},
        model={"dim": 8, "n_layers": 1, "dk": 8, "dv": 8},
        training={"batch_size": {"choice": [8, 16, 32]}, "epochs": 1},
        constraints=None,
        search={"sampler": "grid", "replicates": 2},
    )
    return run_sweep(tmp_path_factory.mktemp("reuse"), document)


def test_no_more_processes_than_slots_for_twelve_runs(sweep: Finished, notes: Path) -> None:
    trainings = (notes / "trainings").read_text().splitlines()
    processes = {line.split()[0] for line in trainings}
    assert len(trainings) == RUNS == len(sweep.children)
    assert 1 <= len(processes) <= SLOTS
    assert {run.outcome for run in sweep.data.state.runs.values()} == {"completed"}


def test_a_small_run_after_a_big_one_has_its_own_peak(sweep: Finished, notes: Path) -> None:
    assert small_runs_after_big_ones(notes), "no small run followed a big one: the sweep shows nothing"
    peaks: dict[bool, list[float]] = {True: [], False: []}
    for run in sweep.data.state.runs.values():
        ballast = sweep.data.state.trials[run.trial].configuration["model"]["ballast_mib"]
        peaks[bool(ballast)].append(run.metrics["memory/peak_host_mib"])
    assert min(peaks[True]) - max(peaks[False]) > 0.8 * BALLAST_MIB


def small_runs_after_big_ones(notes: Path) -> int:
    """How often a process trained a small module directly after a big one."""
    trainings = [line.split() for line in (notes / "trainings").read_text().splitlines()]
    ballasts = {process: [int(mib) for pid, _, mib in trainings if pid == process] for process, _, _ in trainings}
    return sum(bool(first and not second) for seen in ballasts.values() for first, second in itertools.pairwise(seen))
