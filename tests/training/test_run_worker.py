"""Workers: every way in which a run can end comes back as a payload, and a process serves one run after another."""

import gc
import json
import logging
import math
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, Intercepted, register_variant, small_request, without_clocks

from trainables import registry
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker


def run(worker: RunWorker, request: RunRequest) -> list[dict[str, Any]]:
    worker.start(request)
    payloads = [worker.advance()]
    while payloads[-1]["outcome"] is None:
        payloads.append(worker.advance())
    return payloads


def raising(error: Exception, at: str = "call") -> Callable[[torch.nn.Module], torch.nn.Module]:
    """A variant of an architecture that raises when built, or in its ninth training step (the second epoch)."""

    def change(module: Intercepted, states: torch.Tensor) -> torch.Tensor:
        if module.calls == 9:
            raise type(error)(*error.args)  # a shared exception would keep its frames, and their tensors, alive
        return states

    def wrap(inner: torch.nn.Module) -> torch.nn.Module:
        if at == "build":
            raise type(error)(*error.args)
        return Intercepted(inner, change)

    return wrap


def test_a_run_ends_as_completed_and_stays_so(tmp_path: Path) -> None:
    worker, request = RunWorker(CPU), small_request(tmp_path)
    payloads = run(worker, request)
    assert [payload["progress"] for payload in payloads] == [1, 2, 3]
    assert [payload["outcome"] for payload in payloads] == [None, None, "completed"]
    assert {payload["fingerprint"] for payload in payloads} == {request.fingerprint()}
    assert {(payload["run"], payload["error"]) for payload in payloads} == {("r1", None)}
    assert payloads[0]["once"]["params/block"] > 0 and payloads[1]["once"] == payloads[2]["once"] == {}
    assert json.loads(json.dumps(payloads)) == payloads
    assert worker.advance() == payloads[-1]


def test_every_payload_tells_the_memory(tmp_path: Path) -> None:
    payloads = run(RunWorker(CPU), small_request(tmp_path))
    assert all(
        payload["metrics"]["memory/peak_host_mib"] >= payload["metrics"]["memory/baseline_host_mib"] > 0 for payload in payloads
    )
    assert not any(name.startswith("vram/") for payload in payloads for name in payload["metrics"])


OUT_OF_MEMORY = [
    MemoryError("no memory"),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
]


@pytest.mark.parametrize("at", ["build", "call"])
@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError("a bug"), "failed"), *((error, "oom") for error in OUT_OF_MEMORY)], ids=str
)
def test_an_exception_is_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str, at: str
) -> None:
    register_variant(monkeypatch, "raising", raising(error, at))
    payloads = run(RunWorker(CPU), small_request(tmp_path, architecture="raising"))
    last = payloads[-1]
    assert [payload["progress"] for payload in payloads] == ([0] if at == "build" else [1, 2])
    assert last["outcome"] == outcome
    assert last["error"]["type"] == type(error).__name__ and last["error"]["message"] == str(error)
    assert "test_run_worker.py" in last["error"]["traceback"]
    assert json.loads(json.dumps(payloads)) == payloads
    assert not (tmp_path / "trial" / LAST_CHECKPOINT).exists()


@pytest.mark.parametrize("changes", [{"architecture": "no_such"}, {"model": {"wheels": 3}}, {"task_values": {"num_kv_pairs": 9}}])
def test_a_request_that_cannot_run_fails_at_its_first_step(tmp_path: Path, changes: dict[str, Any]) -> None:
    (payload,) = run(RunWorker(CPU), small_request(tmp_path, **changes))
    assert (payload["outcome"], payload["progress"], payload["fingerprint"]) == ("failed", 0, None)


def test_divergence_is_told_with_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(module: Intercepted, states: torch.Tensor) -> torch.Tensor:
        return states * (math.inf if module.calls > 7 else 1.0)

    register_variant(monkeypatch, "exploding", lambda inner: Intercepted(inner, explode))
    first, last = run(RunWorker(CPU), small_request(tmp_path, architecture="exploding"))
    assert (first["outcome"], last["outcome"], last["progress"]) == (None, "diverged", 2)
    assert last["error"]["type"] == "Diverged" and "training loss" in last["error"]["message"]
    assert all(math.isfinite(value) for value in last["metrics"].values())
    assert not (tmp_path / "trial" / LAST_CHECKPOINT).exists()


def test_interrupting_is_not_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_variant(monkeypatch, "interrupted", raising(KeyboardInterrupt(), at="build"))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        RunWorker(CPU).start(small_request(tmp_path, architecture="interrupted"))


def test_the_next_run_is_what_it_would_be_alone_whatever_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_variant(monkeypatch, "raising", raising(ValueError("a bug")))

    def numbers(payloads: list[dict[str, Any]]) -> list[dict[str, float]]:
        return [without_clocks(payload["metrics"]) for payload in payloads]

    alone = run(RunWorker(CPU), small_request(tmp_path, folder=None))
    reused = RunWorker(CPU)
    run(reused, small_request(tmp_path, architecture="raising", folder=None))
    reused.start(small_request(tmp_path, architecture="unified_kv", folder=None))
    reused.advance()
    again = run(reused, small_request(tmp_path, folder=None, run="r2"))
    assert numbers(again) == numbers(alone)
    assert again[0]["once"] == alone[0]["once"] and again[0]["run"] == "r2"


@pytest.mark.parametrize("ending", ["stop", "fail", "next"])
def test_a_run_that_is_over_holds_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    register_variant(monkeypatch, "raising", raising(ValueError("a bug")))
    worker = RunWorker(CPU)
    worker.start(small_request(tmp_path, architecture="raising"))
    worker.advance()
    assert worker._session is not None
    module = weakref.ref(worker._session.module)
    if ending == "stop":
        worker.stop()
    elif ending == "fail":
        assert worker.advance()["outcome"] == "failed"
    else:
        worker.start(small_request(tmp_path))
    gc.collect()
    assert module() is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"training": {"lr": 0.01}}])
def test_the_checkpoint_of_another_run_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    run(RunWorker(CPU), small_request(tmp_path))
    with caplog.at_level(logging.WARNING):
        payloads = run(RunWorker(CPU), small_request(tmp_path, **change))
    assert [payload["progress"] for payload in payloads] == [1, 2, 3]
    assert payloads[0]["begun"]["continued_from"] == 0
    assert "starts from the beginning" in payloads[0]["warning"] and payloads[0]["warning"] in caplog.text


@pytest.mark.parametrize(
    ("keep", "names"),
    [("none", {LAST_CHECKPOINT}), ("last", {LAST_CHECKPOINT}), ("best", {LAST_CHECKPOINT, BEST_CHECKPOINT})],
)
def test_a_run_keeps_its_last_checkpoint_whatever_stays_in_the_end(tmp_path: Path, keep: str, names: set[str]) -> None:
    run(RunWorker(CPU), small_request(tmp_path, keep_checkpoints=keep))
    assert {path.name for path in (tmp_path / "trial").glob("*")} == names


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 3)])
def test_the_best_checkpoint_is_of_the_best_step_across_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, best: int
) -> None:
    accuracies = iter([0.5, 0.8, 0.3, 0.7])
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: {"val/accuracy": next(accuracies)})
    request = small_request(
        tmp_path, keep_checkpoints="best", objective_mode=mode, training={"epochs": 4}, checkpoint_seconds=0.0
    )
    first = RunWorker(CPU)
    first.start(request)
    first.advance(), first.advance()
    run(RunWorker(CPU), request)
    state = torch.load(tmp_path / "trial" / BEST_CHECKPOINT, weights_only=True)
    assert state["epoch"] == best


@pytest.mark.parametrize(("seconds", "written"), [(0, True), (3600, False)])
def test_a_checkpoint_is_written_when_it_is_time(tmp_path: Path, seconds: float, written: bool) -> None:
    worker = RunWorker(CPU)
    worker.start(small_request(tmp_path, checkpoint_seconds=seconds))
    worker.advance()
    assert (tmp_path / "trial" / LAST_CHECKPOINT).exists() is written
    worker.stop()
    assert (tmp_path / "trial" / LAST_CHECKPOINT).exists(), "a run that is stopped keeps where it was"


def test_there_must_be_a_run_to_advance(tmp_path: Path) -> None:
    worker = RunWorker(CPU)
    with pytest.raises(RuntimeError, match="start one"):
        worker.advance()
    run(worker, small_request(tmp_path))
    worker.stop()
    with pytest.raises(RuntimeError, match="start one"):
        worker.advance()


def test_the_next_run_begins_at_once(tmp_path: Path) -> None:
    worker = RunWorker(CPU)
    run(worker, small_request(tmp_path, folder=None))
    seconds = []
    for seed in range(5):
        begun = time.process_time()
        worker.start(small_request(tmp_path, folder=None, seed=seed, training={"epochs": 10**6}))
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.5
