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


@pytest.mark.parametrize("fault", ["leaks", "dies_afterwards"])
def test_a_process_that_cannot_take_another_run_costs_none(ray_session: None, faults: None, fault: str, tmp_path: Path) -> None:
    """It left something on its device and ends, or dies while it is given the next run: that run gets another process."""
    document = small_space(
        name="unclean",
        architectures={"faulty": {"notes": str(tmp_path), "fault": fault}},
        model={"dim": 8, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
        training={"batch_size": 32, "lr": {"choice": [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]}, "epochs": 2},
        constraints=None,
        search={"sampler": "grid"},
    )
    data = run_sweep(tmp_path, document).data
    assert [run.outcome for run in data.state.runs.values()] == ["completed"] * 6
    trainings = (tmp_path / "trainings").read_text().splitlines()
    assert len(trainings) == len({line.split()[0] for line in trainings}) == 6, "each in a process of its own"
