"""A sweep in which runs diverge, raise, run out of memory, die and are stopped: each has its outcome, none is lost."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from small_sweeps import NO_HOOK_WAITS_S, Finished, finished, run_sweep, small_space, write_space

from orchestrator.command_line.app import run as command
from orchestrator.launch import LaunchResult
from orchestrator.record import read_journal
from orchestrator.sweep.folder import SweepFolder

EPOCHS = 3
PLAIN_TRIALS = 6
FAULTS = {
    "nan": ("diverged", "FAILED", "PRUNED"),
    "nan_first": ("diverged", "FAILED", "PRUNED"),
    "nan_last": ("diverged", "FAILED", "PRUNED"),
    "inf": ("diverged", "FAILED", "PRUNED"),
    "exception": ("failed", "FAILED", "FAIL"),
    "memory": ("oom", "FAILED", "PRUNED"),
    "memory_real": ("oom", "FAILED", "PRUNED"),
    "dies_once": ("completed", "FINISHED", "COMPLETE"),
    "dies": ("failed", "FAILED", "FAIL"),
}
"""Outcome, MLflow status and state in the study of the one trial of each entry: the table of the interface."""


def space_of_faults(notes: Path) -> dict[str, Any]:
    faulty = {fault: {"architecture": "faulty", "fault": fault, "notes": str(notes), "n_heads": 1} for fault in FAULTS}
    return small_space(
        name="faults",
        architectures={**faulty, "plain": {"architecture": "gpt", "training": {"lr": {"float": [1e-4, 1e-2], "log": True}}}},
        model={"dim": 8, "n_layers": 1, "dk": 8, "dv": 8},
        training={"batch_size": 32, "epochs": EPOCHS},
        constraints=None,
        search={"sampler": "tpe", "trials": PLAIN_TRIALS},
        scheduler={"name": "asha", "grace_period": 1, "reduction_factor": 3},
    )


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def sweep(ray_session: None, faults: None, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_sweep(tmp_path_factory.mktemp("faults"), space_of_faults(notes))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_outcome_of_a_fault(sweep: Finished, fault: str) -> None:
    outcome, status, _ = FAULTS[fault]
    (trial,) = (trial for trial in sweep.data.state.trials.values() if trial.entry == fault)
    (run,) = sweep.data.state.runs_of(trial.id)
    child = sweep.children[run.id]
    assert (trial.outcome, run.outcome) == (outcome, outcome)
    assert (child.data.tags["outcome"], child.info.status) == (outcome, status)


def test_errors_can_be_read_in_mlflow(sweep: Finished) -> None:
    tags = {run.data.tags["memsweep.entry"]: run.data.tags for run in sweep.children.values()}
    assert tags["exception"]["error"] == "KeyError: 'a bug in a trial'"
    assert "in _fail" in tags["exception"]["traceback"]
    assert tags["memory"]["error"] == "MemoryError: no memory left"
    assert tags["nan"]["error"].startswith("Diverged: the training loss is nan in epoch 2")
    assert "epoch 1" in tags["nan_first"]["error"] and "epoch 3" in tags["nan_last"]["error"]
    assert tags["memory_real"]["error"].startswith("RuntimeError: ")
    assert tags["dies"]["error"].startswith(
        "WorkerDied: the worker process died 4 times, the last time: it was killed by a signal"
    )
    assert "error" not in tags["dies_once"] and "error" not in tags["plain"]


def test_a_bug_is_not_retried_and_a_death_three_times(sweep: Finished, notes: Path) -> None:
    trainings = Counter(line.split()[1] for line in (notes / "trainings").read_text().splitlines())
    assert trainings == {**dict.fromkeys(FAULTS, 1), "dies_once": 2, "dies": 4}


def test_a_step_that_is_reported_again_after_a_death_counts_once(sweep: Finished) -> None:
    (run,) = (run for run in sweep.data.state.runs.values() if run.trial.startswith("dies_once"))
    history = sweep.client.get_metric_history(sweep.children[run.id].info.run_id, "val/loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert list(run.curve) == [1, 2, 3]


def test_the_stopping_rule_ends_some_plain_runs_and_not_all(sweep: Finished) -> None:
    plain = [run for run in sweep.data.state.runs.values() if run.trial.startswith("plain")]
    outcomes = Counter(run.outcome for run in plain)
    assert outcomes.keys() == {"completed", "stopped"} and outcomes.total() == PLAIN_TRIALS
    assert all(sweep.children[run.id].info.status == "FINISHED" for run in plain)
    assert all(run.progress in (1, 3) for run in plain if run.outcome == "stopped")


def test_no_study_has_a_trial_that_runs_and_faults_are_constraints(sweep: Finished) -> None:
    storage = f"sqlite:///{sweep.result.folder.study_view}"
    assert set(optuna.get_all_study_names(storage)) == {*FAULTS, "plain"}
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        states = {trial.state.name for trial in trials}
        assert states == ({FAULTS[name][2]} if name in FAULTS else {"COMPLETE", "PRUNED"})
        violated = {constraint for trial in trials for constraint, value in trial.constraints.items() if value > 0}
        assert violated == {"diverged": {"diverged"}, "oom": {"oom"}}.get(FAULTS.get(name, ("",))[0], set())


def test_a_configuration_that_failed_is_not_run_again(sweep: Finished) -> None:
    """An entry with one configuration has one trial, however many were asked for: the study ends and says so."""
    exhausted = {event["study"] for event in read_journal(sweep.result.folder.record) if event["kind"] == "exhausted"}
    assert exhausted == set(FAULTS)


def test_the_control_loop_was_never_held_up(sweep: Finished) -> None:
    assert max(sweep.result.slowest_call_s.values()) < NO_HOOK_WAITS_S, sweep.result.slowest_call_s


def test_a_sweep_without_success_ends_with_status_1(
    ray_session: None, faults: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = space_of_faults(tmp_path) | {"name": "hopeless"}
    document["architectures"] = {name: document["architectures"][name] for name in ("nan", "exception")}
    space = write_space(tmp_path, document)
    assert command(["run", str(space), "--storage", str(tmp_path), "--yes"]) == 1
    told = capfd.readouterr()
    assert "nan-0000-s0 diverged at epoch 2" in told.err and "no trial completed" in told.err
    assert "1 failed" in told.out and "Traceback" not in told.out + told.err
    folder = SweepFolder(tmp_path / "hopeless")
    hopeless = finished(LaunchResult(folder, 0, False, 0, None, {}))
    assert {run.info.status for run in hopeless.children.values()} == {"FAILED"}
    assert hopeless.parent.info.status == "FINISHED"
    assert set(os.listdir(folder.spool)) <= {"lock", "delivered"}
