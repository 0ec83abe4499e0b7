"""Numbers that are none: in the training loss, the validation loss, the objective or another one, at any step."""

import math
from pathlib import Path
from typing import Any

import pytest
from small_runs import CPU, Intercepted, register_variant, small_request
from torch import Tensor

from trainables import registry
from trainables.training.checkpoint import LAST_CHECKPOINT
from trainables.training.worker import RunWorker

NO_NUMBERS = [math.nan, math.inf, -math.inf]


def to_the_end(request: Any) -> list[dict[str, Any]]:
    worker = RunWorker(CPU)
    worker.start(request)
    payloads = [worker.advance()]
    while payloads[-1]["outcome"] is None:
        payloads.append(worker.advance())
    return payloads


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy", "val/other", "val/second"])
def test_an_evaluation_with_no_number_ends_the_run_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, value: float, step: int
) -> None:
    calls = []

    def evaluate(*_: Any) -> dict[str, float]:
        calls.append(1)
        measured = {"val/loss": 2.0, "val/accuracy": 0.5, "val/other": 1.0, "val/second": 3.0}
        return measured | ({metric: value} if len(calls) == step else {})

    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", evaluate)
    payloads = to_the_end(small_request(tmp_path, other_objectives=("val/other", "val/second"), checkpoint_seconds=0.0))
    last = payloads[-1]
    assert [payload["progress"] for payload in payloads] == list(range(1, step + 1))
    assert (last["outcome"], last["error"]["type"]) == ("diverged", "Diverged")
    assert last["error"]["message"] == f"{metric} is {value} in epoch {step}"
    assert metric not in last["metrics"] and last["metrics"]["train/loss"] > 0 and "val/loss" in {metric, *last["metrics"]}
    assert all(math.isfinite(number) for payload in payloads for number in payload["metrics"].values())
    assert (tmp_path / "trial" / LAST_CHECKPOINT).exists() is (step > 1), "a diverged state is never kept"


@pytest.mark.parametrize("call", [1, 7, 8, 21])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_training_loss_that_is_no_number_ends_the_run_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, call: int
) -> None:
    """Call 1 is the very first optimiser step, 7 the last one of the first epoch, 21 the last one of all."""

    def explode(module: Intercepted, states: Tensor) -> Tensor:
        return states * (value if module.training and module.calls == call else 1.0)

    register_variant(monkeypatch, "exploding", lambda inner: Intercepted(inner, explode))
    payloads = to_the_end(small_request(tmp_path, architecture="exploding"))
    assert (payloads[-1]["outcome"], payloads[-1]["progress"]) == ("diverged", math.ceil(call / 7))
    assert "the training loss is" in payloads[-1]["error"]["message"]


def test_a_metric_that_nobody_asked_for_is_left_out_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: {"val/accuracy": 0.5, "val/other": math.nan})
    payloads = to_the_end(small_request(tmp_path))
    assert payloads[-1]["outcome"] == "completed" and "val/other" not in payloads[-1]["metrics"]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_an_evaluation_without_training_can_diverge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: {"val/loss": 1.0, "val/accuracy": value})
    (payload,) = to_the_end(small_request(tmp_path, training={"epochs": 0}))
    assert (payload["outcome"], payload["progress"]) == ("diverged", 1)
