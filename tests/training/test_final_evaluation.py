"""The end of a run: metrics measured once, and what it has to show."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, small_request, started, to_the_end, without_clocks

from trainables import registry
from trainables.exhibits import EXHIBITS
from trainables.training.protocol import Diverged
from trainables.training.worker import RunWorker


class Calls(list[bool]):
    """Of each call, whether the module was in training mode."""


def measure_finally(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, float]) -> Calls:
    calls = Calls()

    def evaluate_finally(_: Any, module: torch.nn.Module, batch_size: int) -> dict[str, float]:
        assert not torch.is_grad_enabled() and batch_size == 256
        calls.append(module.training)
        return dict(values)

    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate_finally", evaluate_finally)
    return calls


def show(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> Calls:
    calls = Calls()

    def save_exhibits(_: Any, module: torch.nn.Module, folder: Path) -> None:
        assert not torch.is_grad_enabled()
        calls.append(module.training)
        if error is not None:
            raise type(error)(*error.args)
        (folder / "picture.txt").write_text("a picture")

    monkeypatch.setattr(registry.tasks()["mqar"], "save_exhibits", save_exhibits)
    return calls


def run(worker: RunWorker, request: Any) -> list[dict[str, Any]]:
    worker.start(request)
    payloads = [worker.advance()]
    while payloads[-1]["outcome"] is None:
        payloads.append(worker.advance())
    return payloads


def test_final_metrics_are_measured_once_at_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = measure_finally(monkeypatch, {"final/a": 3.0, "final/infinite": math.inf})
    session = started(small_request(tmp_path))
    reports = to_the_end(session)
    assert calls == [False]
    assert ["final/a" in report.metrics for report in reports] == [False, False, True]
    assert reports[-1].metrics["final/a"] == 3 and "final/infinite" not in reports[-1].metrics
    assert session.step() == reports[-1] and calls == [False]


def test_final_metrics_are_measured_where_the_target_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_finally(monkeypatch, {"final/a": 3.0})
    request = small_request(tmp_path, training={"stop_at_target": True}, task_values={"target_accuracy": 1e-9})
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: {"val/loss": 1.0, "val/accuracy": 1.0})
    (report,) = to_the_end(started(request))
    assert report.metrics["final/a"] == 3 and report.metrics["time/to_target_s"] <= report.metrics["time/total_s"]


def test_a_checkpoint_of_a_finished_run_has_its_final_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = measure_finally(monkeypatch, {"final/a": 3.0})
    request = small_request(tmp_path)
    session = started(request)
    last = to_the_end(session)[-1]
    session.save(tmp_path / "c.pt")
    resumed = started(request)
    resumed.load(tmp_path / "c.pt")
    assert resumed.report_again() == last and len(calls) == 1


def test_an_objective_that_is_measured_at_the_end_must_be_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_finally(monkeypatch, {"final/a": math.nan, "final/b": 1.0})
    with pytest.raises(Diverged, match="final/a is nan in epoch 3") as caught:
        to_the_end(started(small_request(tmp_path, objective_metric="final/a")))
    assert caught.value.report.metrics["final/b"] == 1 and "val/loss" in caught.value.report.metrics
    with pytest.raises(Diverged, match="final/a"):
        to_the_end(started(small_request(tmp_path, other_objectives=("final/a",))))


def test_a_completed_run_saves_its_exhibits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, worker = show(monkeypatch), RunWorker(CPU)
    payloads = run(worker, small_request(tmp_path))
    assert payloads[-1]["outcome"] == "completed" and payloads[-1]["warning"] is None
    assert worker.advance() == payloads[-1] and calls == [False]
    assert (tmp_path / "trial" / EXHIBITS / "picture.txt").read_text() == "a picture"


def test_a_run_whose_last_result_was_lost_shows_its_exhibits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = show(monkeypatch)
    last = run(RunWorker(CPU), small_request(tmp_path))[-1]
    (again,) = run(RunWorker(CPU), small_request(tmp_path))
    assert without_clocks(again["metrics"]) == without_clocks(last["metrics"]) and len(calls) == 2


def test_a_run_without_a_folder_or_that_failed_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = show(monkeypatch)
    assert run(RunWorker(CPU), small_request(tmp_path, folder=None))[-1]["outcome"] == "completed"
    measure_finally(monkeypatch, {"final/a": math.nan})
    assert run(RunWorker(CPU), small_request(tmp_path, objective_metric="final/a"))[-1]["outcome"] == "diverged"
    assert not calls and not (tmp_path / "trial" / EXHIBITS).exists()


def test_a_task_with_nothing_to_show_leaves_no_folder(tmp_path: Path) -> None:
    assert run(RunWorker(CPU), small_request(tmp_path))[-1]["outcome"] == "completed"
    assert not (tmp_path / "trial" / EXHIBITS).exists()


@pytest.mark.parametrize("error", [ValueError("no room for the legend"), MemoryError("none"), OSError(28, "No space left")])
def test_exhibits_that_cannot_be_saved_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    show(monkeypatch, error)
    last = run(RunWorker(CPU), small_request(tmp_path))[-1]
    assert last["outcome"] == "completed" and last["error"] is None and last["metrics"]["val/loss"] > 0
    assert last["warning"].startswith("the run is complete, but its exhibits could not be saved: " + type(error).__name__)
    assert str(error) in last["warning"]


def test_a_folder_of_exhibits_that_cannot_be_made_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch)
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / EXHIBITS).write_text("in the way")
    last = run(RunWorker(CPU), small_request(tmp_path))[-1]
    assert last["outcome"] == "completed" and "exhibits could not be saved" in last["warning"]


def test_the_worker_beats_before_and_after_the_exhibits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    moments: list[int] = []

    def save_exhibits(*_: Any) -> None:
        moments.append(len(beats))

    worker = RunWorker(CPU, beat=lambda: beats.append(1))
    monkeypatch.setattr(registry.tasks()["mqar"], "save_exhibits", save_exhibits)
    worker.start(small_request(tmp_path, training={"epochs": 1}))
    worker.advance()
    (moment,) = moments
    assert len(beats) == moment + 1
    assert moment > 0
