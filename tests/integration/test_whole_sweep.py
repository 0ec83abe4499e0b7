"""A whole sweep on Ray with SQLite: what MLflow, the record, the study and the report hold of it, and that they agree."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import optuna
import pytest
from small_sweeps import NO_HOOK_WAITS_S, SPACE, Finished, run_sweep, small_space

from orchestrator.command_line.app import run as command
from orchestrator.record import read_journal
from orchestrator.tracking import RUN_KEY_TAG
from trainables import registry
from trainables.counts import SCOPES
from trainables.training.request import RunRequest

TRIALS, REPLICATES, EPOCHS = 2, 2, 3
TARGET = 0.02
"""An accuracy that some runs reach and others do not within their epochs; guessing among 16 values gives 0.06."""
ONCE = {f"params/{scope}" for scope in SCOPES} | {"memory/weights_mib", "memory/estimated_mib"}
EACH_EPOCH = {
    *("train/loss", "val/loss", "val/accuracy"),
    *("memory/peak_host_mib", "memory/baseline_host_mib"),
    *("time/train_s", "time/total_s", "throughput/tokens_per_s", "throughput/inference_tokens_per_s"),
}
STATUSES = {"completed": "FINISHED", "stopped": "FINISHED"}


@pytest.fixture(scope="module")
def sweep(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    document = small_space(
        task={**SPACE["task"], "target_accuracy": TARGET},
        search={"sampler": "tpe", "trials": TRIALS, "replicates": REPLICATES},
        scheduler={"name": "asha", "grace_period": 1, "reduction_factor": 2},
        tracking={"experiment": "all"},
    )
    return run_sweep(tmp_path_factory.mktemp("whole"), document)


def test_every_run_of_every_entry_ended(sweep: Finished) -> None:
    runs = list(sweep.data.state.runs.values())
    assert Counter(sweep.data.state.trials[run.trial].entry for run in runs) == dict.fromkeys(
        ("gpt", "delta_net", "unified_kv"), TRIALS * REPLICATES
    )
    assert {run.outcome for run in runs} == {"completed", "stopped"}
    assert all((run.progress == EPOCHS) == (run.outcome == "completed") for run in runs)
    assert {run.seed for run in runs} == {0, 1}


def test_the_result_says_so(sweep: Finished) -> None:
    completed = sum(trial.outcome == "completed" for trial in sweep.data.state.trials.values())
    assert sweep.result.completed_trials == completed > 0
    assert (sweep.result.interrupted, sweep.result.undelivered, sweep.result.tracking_error) == (False, 0, None)


def test_no_hook_held_up_the_control_loop(sweep: Finished) -> None:
    assert sweep.result.slowest_call_s.keys() == {"turn", "suggest", "result", "ended"}
    assert max(sweep.result.slowest_call_s.values()) < NO_HOOK_WAITS_S, sweep.result.slowest_call_s


def test_one_parent_and_a_child_for_each_run(sweep: Finished) -> None:
    assert sweep.children.keys() == sweep.data.state.runs.keys()
    assert {child.data.tags["mlflow.parentRunId"] for child in sweep.children.values()} == {sweep.parent.info.run_id}
    assert sweep.parent.info.status == "FINISHED"
    assert sweep.data.state.tracking_id == sweep.parent.info.run_id
    assert sweep.parent.data.tags["memsweep.kind"] == "sweep"
    assert sweep.parent.data.params["objective"] == "min val/loss"


VERSIONS = "memsweep.version."


def test_a_child_is_found_without_its_parent(sweep: Finished) -> None:
    for run_id, child in sweep.children.items():
        run = sweep.data.state.runs[run_id]
        trial = sweep.data.state.trials[run.trial]
        assert {name: value for name, value in child.data.tags.items() if not name.startswith(("mlflow.", VERSIONS))} == {
            RUN_KEY_TAG: f"{sweep.data.state.header['identity']}/{run_id}",
            "memsweep.sweep": "small",
            "memsweep.kind": "run",
            "memsweep.task": "mqar",
            "memsweep.study": trial.entry,
            "memsweep.entry": trial.entry,
            "memsweep.architecture": trial.architecture,
            "memsweep.trial": trial.id,
            "memsweep.seed": str(run.seed),
            "memsweep.fingerprint": trial.fingerprint,
            "outcome": run.outcome,
        }
        assert {name.removeprefix(VERSIONS) for name in child.data.tags if name.startswith(VERSIONS)} == run.provenance.keys()
        assert run.tracking_id == child.info.run_id
        assert child.info.status == STATUSES[run.outcome or ""]
        assert child.info.end_time >= child.info.start_time
    names = [child.info.run_name for child in sweep.children.values()]
    assert len(set(names)) == len(names) and all(len(name) < 80 for name in names)


def test_parameters_have_one_name_across_architectures(sweep: Finished) -> None:
    shared = {"entry", "architecture", "dim", "n_layers", "n_heads", "lr", "batch_size", "epochs", "task.vocab_size"}
    own = {"gpt": {"dk", "dv"}, "delta_net": {"dk", "dv"}, "unified_kv": {"du"}}
    for run_id, child in sweep.children.items():
        trial = sweep.data.state.trials[sweep.data.state.runs[run_id].trial]
        params = child.data.params
        assert shared | own[trial.architecture] <= params.keys()
        assert params["n_heads"] == str(trial.configuration["model"]["n_heads"])
        assert float(params["lr"]) == trial.configuration["training"]["lr"]
        assert not (params.keys() & {"dk", "dv", "du"}) - own[trial.architecture]


def test_every_metric_is_recorded_at_every_epoch(sweep: Finished) -> None:
    for run_id, child in sweep.children.items():
        progress = sweep.data.state.runs[run_id].progress
        steps = {
            name: sorted(metric.step for metric in sweep.client.get_metric_history(child.info.run_id, name))
            for name in child.data.metrics
        }
        assert {name for name, seen in steps.items() if seen == [0]} == ONCE
        assert {name: steps.get(name) for name in EACH_EPOCH} == {name: list(range(1, progress + 1)) for name in EACH_EPOCH}
        assert not [name for name in steps if name.startswith("vram/")]
        assert all(map(math.isfinite, child.data.metrics.values()))


def test_the_time_to_the_target_is_recorded_from_the_epoch_that_reached_it(sweep: Finished) -> None:
    for child in sweep.children.values():
        accuracy, seconds = (
            {metric.step: metric.value for metric in sweep.client.get_metric_history(child.info.run_id, name)}
            for name in ("val/accuracy", "time/to_target_s")
        )
        reached = next((step for step in sorted(accuracy) if accuracy[step] >= TARGET), math.inf)
        assert sorted(seconds) == [step for step in sorted(accuracy) if step >= reached]
        assert len(set(seconds.values())) <= 1


def test_parameter_counts_are_those_of_the_closed_form_and_within_the_budget(sweep: Finished) -> None:
    for run_id, child in sweep.children.items():
        trial = sweep.data.state.trials[sweep.data.state.runs[run_id].trial]
        configuration = trial.configuration
        resolved = RunRequest(
            run=run_id,
            architecture=trial.architecture,
            task="mqar",
            model=configuration["model"],
            task_values=configuration["task"],
            training=configuration["training"],
            artifacts=Path(),
        ).resolved()
        counts = registry.architectures()[trial.architecture].count(resolved.model, resolved.task).by_scope()
        assert {scope: child.data.metrics[f"params/{scope}"] for scope in SCOPES} == counts
        assert 416 <= counts["block"] <= 624


def test_measured_memory_is_plausible(sweep: Finished) -> None:
    for child in sweep.children.values():
        metrics = child.data.metrics
        assert 100 < metrics["memory/baseline_host_mib"] <= metrics["memory/peak_host_mib"] < 2000
        assert metrics["memory/weights_mib"] == metrics["params/total"] * 4 / 2**20


def test_the_parent_holds_space_and_table(sweep: Finished, tmp_path: Path) -> None:
    folder = sweep.result.folder
    for name, source in (("space.yaml", folder.space), ("table.md", folder.report / "table.md")):
        held = sweep.client.download_artifacts(sweep.parent.info.run_id, name, str(tmp_path))
        assert Path(held).read_text() == source.read_text()
    assert all(f"| {entry}" in (folder.report / "table.md").read_text() for entry in ("gpt", "delta_net", "unified_kv"))


def test_the_report_agrees_with_mlflow(sweep: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["report", str(sweep.result.folder.path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sweep"] == "small"
    assert {run["id"] for run in document["trials"]} == sweep.children.keys()
    for run in document["trials"]:
        child = sweep.children[run["id"]]
        told = {f"params/{scope}": float(count) for scope, count in run["params"].items()} | run["metrics"]
        assert told == child.data.metrics
        assert (run["mlflow_run_id"], run["outcome"]) == (child.info.run_id, child.data.tags["outcome"])
        assert (run["fingerprint"], str(run["seed"])) == (
            child.data.tags["memsweep.fingerprint"],
            child.data.tags["memsweep.seed"],
        )


def test_the_best_of_an_entry_is_the_mean_over_seeds_of_its_best_trial(sweep: Finished) -> None:
    best = json.loads((sweep.result.folder.report / "report.json").read_text())["best"]
    state = sweep.data.state
    for entry, told in best.items():
        means = {}
        for trial in (trial for trial in state.trials.values() if trial.entry == entry):
            losses = [run.metrics["val/loss"] for run in state.runs_of(trial.id) if run.outcome == "completed"]
            if losses:
                means[trial.id] = sum(losses) / len(losses)
        assert told["trial"] == min(means, key=means.__getitem__)
        assert told["value"] == pytest.approx(means[told["trial"]])
    assert best.keys() == {trial.entry for trial in state.trials.values() if trial.outcome == "completed"}


def test_no_trial_of_a_study_is_left_running(sweep: Finished) -> None:
    storage = f"sqlite:///{sweep.result.folder.study_view}"
    assert set(optuna.get_all_study_names(storage)) == {"gpt", "delta_net", "unified_kv"}
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        ours = [trial for trial in sweep.data.state.trials.values() if trial.study == name]
        told = {"completed": "COMPLETE", "stopped": "PRUNED"}
        assert [trial.state.name for trial in trials][: len(ours)] == [told[trial.outcome or ""] for trial in ours]
        assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}


def test_the_record_rebuilds_the_sweep(sweep: Finished) -> None:
    events = read_journal(sweep.result.folder.record)
    (end,) = (event for event in events if event["kind"] == "end")
    assert events[0]["kind"] == "sweep" and end["interrupted"] is False
    told = Counter((event["study"], event["number"]) for event in events if event["kind"] == "told")
    asked = {(event["study"], event["number"]) for event in events if event["kind"] == "suggestion"}
    assert told.keys() == asked and set(told.values()) == {1}
