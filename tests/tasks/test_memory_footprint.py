"""The task: what a search space of it may say, and runs by a worker."""

from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.check import check_feasibility
from orchestrator.document import SearchSpaceError
from orchestrator.plan import make_plan
from orchestrator.space.reading.sweep import read_search_space_text
from trainables.footprint import session as footprint_session
from trainables.footprint.process import FootprintOutOfMemory, measure_in_process
from trainables.footprint.session import FootprintSession
from trainables.registry import tasks
from trainables.training.checkpoint import LAST_CHECKPOINT, CheckpointRefused, write_checkpoint
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

CPU = torch.device("cpu")
FIGURES = {"memory/peak_host_mib": 120.5, "memory/baseline_host_mib": 100.0, "memory/weights_mib": 1.5}
SPACE = """\
name: by-length
task: {{name: memory_footprint, vocab_size: 64, n_tokens: {{grid: [64, 128]}}, mode: {mode}}}
architectures:
  gpt: {{dim: 16, n_layers: 1}}
{more}search: {{trials: 1}}
"""


def footprint_run(root: Path, **task: Any) -> RunRequest:
    return RunRequest(
        run="r1",
        architecture="gpt",
        task="memory_footprint",
        model={"dim": 16, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
        task_values={"n_tokens": 64, "vocab_size": 64, "repeats": 1, **task},
        artifacts=root / "artifacts",
        folder=root / "trial",
        objective_metric="memory/peak_host_mib",
    )


def payload_of(request: RunRequest) -> dict[str, Any]:
    worker = RunWorker(CPU)
    worker.start(request)
    payload = worker.advance()
    worker.stop()
    return payload


def test_a_run_tells_the_figures_of_the_measuring_process_and_no_other_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, float]] = []

    def measured(*arguments: Any) -> dict[str, float]:
        told.append(measure_in_process(*arguments))
        return told[-1]

    monkeypatch.setattr(footprint_session, "measure_in_process", measured)
    payload = payload_of(footprint_run(tmp_path))
    assert (payload["outcome"], payload["progress"], payload["error"]) == ("completed", 1, None)
    seconds = payload["metrics"].pop("time/total_s")
    assert [payload["metrics"]] == told and seconds > 0
    assert payload["once"]["params/total"] > 0 and payload["once"]["memory/estimated_mib"] > told[0]["memory/weights_mib"]


def test_a_run_that_ran_out_of_memory_ends_as_such_with_what_was_asked(tmp_path: Path) -> None:
    payload = payload_of(footprint_run(tmp_path, n_tokens=2**40))
    assert payload["outcome"] == "oom"
    assert "1 × 1,099,511,627,776 tokens in float32" in payload["error"]["message"]


def started(request: RunRequest) -> FootprintSession:
    session = FootprintSession(request, CPU)
    session.start()
    return session


def test_a_run_whose_measurement_is_done_repeats_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint_session, "measure_in_process", lambda *_: dict(FIGURES))
    request = footprint_run(tmp_path)
    first = payload_of(request)
    monkeypatch.setattr(footprint_session, "measure_in_process", lambda *_: pytest.fail("measured again"))
    again = payload_of(request)
    assert again["metrics"] == first["metrics"] and again["outcome"] == "completed"
    assert again["begun"]["continued_from"] == 1


@pytest.mark.parametrize(
    "state", [{}, {"done": 2, "metrics": {}}, {"done": True, "metrics": {}}, {"done": 1, "metrics": {"a": "b"}}]
)
def test_a_checkpoint_that_holds_no_figures_is_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    request = footprint_run(tmp_path)
    session, path = started(request), tmp_path / LAST_CHECKPOINT
    write_checkpoint(path, state, fingerprint=request.fingerprint(), seed=request.seed)
    with pytest.raises(CheckpointRefused, match="holds no figures of a measurement"):
        session.load(path)
    assert session.progress == 0


def test_running_out_of_memory_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise FootprintOutOfMemory("no room")

    monkeypatch.setattr(footprint_session, "measure_in_process", fail)
    request = footprint_run(tmp_path)
    assert payload_of(request)["outcome"] == "oom"
    assert request.folder is not None and not (request.folder / LAST_CHECKPOINT).exists()


def test_a_space_without_training_is_right_and_its_plan_has_the_estimate_and_no_checkpoints() -> None:
    specification = read_search_space_text(SPACE.format(mode="train_step", more=""), "a.yaml")
    checks, diagnostics = check_feasibility(specification)
    assert diagnostics.ok and checks["gpt"].feasible == 2
    plan = make_plan(specification)
    low, high = plan.entries["gpt"].predicted_mib
    assert 0 < low < high and plan.largest_checkpoint == 0


def test_values_of_training_are_refused() -> None:
    with pytest.raises(SearchSpaceError, match="the task `memory_footprint` trains nothing: `lr` has no effect"):
        read_search_space_text(SPACE.format(mode="train_step", more="training: {lr: 0.1}\n"), "a.yaml")


def test_a_cache_is_refused_for_an_architecture_that_keeps_none() -> None:
    _, diagnostics = check_feasibility(read_search_space_text(SPACE.format(mode="infer_kv_cache", more=""), "a.yaml"))
    assert {found.hint for found in diagnostics.found} == {
        "this architecture keeps no cache of keys and values, so that mode: infer_kv_cache has nothing to measure: "
        "take infer_no_cache or train_step"
    }


def test_of_a_mode_that_is_searched_only_what_can_be_measured_is_feasible() -> None:
    text = SPACE.format(mode="{choice: [infer_no_cache, infer_kv_cache, train_step]}", more="")
    checks, diagnostics = check_feasibility(read_search_space_text(text, "a.yaml"))
    assert diagnostics.ok and (checks["gpt"].structures, checks["gpt"].feasible) == (6, 4)


def test_an_objective_that_no_measurement_tells_is_refused() -> None:
    text = SPACE.format(mode="train_step", more="objective: {metric: train/loss}\n")
    with pytest.raises(SearchSpaceError, match="the task `memory_footprint` has no metric `train/loss`"):
        read_search_space_text(text, "a.yaml")


def test_all_runs_share_the_empty_data() -> None:
    task_type = tasks()["memory_footprint"]
    assert task_type.data_values(task_type.configuration_type.from_values({"n_tokens": 5})) == {}
