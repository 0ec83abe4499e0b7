"""Two objectives on real Ray: values, Pareto front, stopping by the first one, and NaN in the second one."""

from __future__ import annotations

import json

import optuna
import pytest
from small_sweeps import Finished, run_sweep, small_space

FAULTY = {"architecture": "faulty", "fault": "nan_evaluation", "n_heads": 1, "dk": 8, "dv": 8, "training": {"lr": 3e-3}}


@pytest.fixture(scope="module")
def sweep(ray_session: None, faults: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    document = small_space(
        name="two",
        architectures={"gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": 8}, "nothing": FAULTY},
        objective=[{"metric": "val/accuracy", "mode": "max"}, {"metric": "val/loss", "mode": "min"}],
        constraints=None,
        search={"sampler": "tpe", "trials": 6},
        scheduler={"name": "asha", "grace_period": 1, "reduction_factor": 2},
    )
    return run_sweep(tmp_path_factory.mktemp("two"), document)


def test_nan_in_the_second_objective_is_divergence(sweep: Finished) -> None:
    (run,) = (run for run in sweep.data.state.runs.values() if run.trial.startswith("nothing"))
    assert run.outcome == "diverged" and run.progress == 2
    tags = sweep.children[run.id].data.tags
    assert tags["outcome"] == "diverged" and tags["error"].startswith("Diverged: val/loss is nan in epoch 2")
    assert sweep.children[run.id].info.status == "FAILED"


def test_each_trial_has_a_value_for_each_objective_and_pruned_ones_have_none(sweep: Finished) -> None:
    storage = f"sqlite:///{sweep.result.folder.study_view}"
    study = optuna.load_study(study_name="gpt", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    ours = [trial for trial in sweep.data.state.trials.values() if trial.study == "gpt"]
    assert {trial.outcome for trial in ours} == {"completed", "stopped"} and len(ours) == 6
    for trial, told in zip(ours, study.trials, strict=False):
        assert told.state.name == {"completed": "COMPLETE", "stopped": "PRUNED"}[trial.outcome or ""]
        assert told.values == trial.values and not told.intermediate_values
    diverged = optuna.load_study(study_name="nothing", storage=storage).trials
    assert diverged and {(trial.state.name, trial.constraints["diverged"]) for trial in diverged} == {("PRUNED", 1.0)}


def test_the_report_has_the_front_and_nothing_that_is_beaten(sweep: Finished) -> None:
    report = json.loads((sweep.result.folder.report / "report.json").read_text())
    values = {t["trial"]: sweep.data.state.trials[t["trial"]].values for t in report["trials"] if t["outcome"] == "completed"}
    front = report["pareto"]
    assert front and set(front) <= values.keys()
    for trial in front:
        accuracy, loss = values[trial] or (0.0, 0.0)
        assert not any(v and v[0] >= accuracy and v[1] <= loss and v != values[trial] for v in values.values())
    assert "Pareto front" in (sweep.result.folder.report / "table.md").read_text()
