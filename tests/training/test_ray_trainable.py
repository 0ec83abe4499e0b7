"""The Ray actor's class, called as Tune calls it but without a cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import register_variant, small_request, without_clocks

from trainables.heartbeat import Heartbeat
from trainables.ray_trainable import CONFIGURATION, SweepTrainable, _may_begin, assigned_device
from trainables.training.worker import RunWorker


def config(request: Any, **more: Any) -> dict[str, Any]:
    return {CONFIGURATION: json.dumps({"request": request.to_dict(), "reservation": {"cpus": 1.0}, **more})}


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[SweepTrainable] = []

    def new(configuration: dict[str, Any]) -> SweepTrainable:
        made.append(SweepTrainable(configuration))
        return made[-1]

    yield new
    for trainable in made:
        trainable.stop()


def results(trainable: SweepTrainable) -> list[dict[str, Any]]:
    collected = [json.loads(trainable.train()["memsweep"])]
    while collected[-1]["outcome"] is None:
        collected.append(json.loads(trainable.train()["memsweep"]))
    return collected


def test_steps_return_payloads_until_one_has_an_outcome(tmp_path: Path, make: Any) -> None:
    payloads = results(make(config(small_request(tmp_path))))
    assert [(payload["progress"], payload["outcome"]) for payload in payloads] == [(1, None), (2, None), (3, "completed")]
    assert payloads[0]["once"] and payloads[2]["run"] == "r1"


def test_a_reused_actor_runs_the_next_request(tmp_path: Path, make: Any) -> None:
    alone = results(make(config(small_request(tmp_path, architecture="unified_kv", folder=None))))
    trainable = make(config(small_request(tmp_path, folder=None)))
    trainable.train()
    assert trainable.reset(config(small_request(tmp_path, architecture="unified_kv", folder=None, run="r2")))
    payloads = results(trainable)
    assert payloads[0]["run"] == "r2" and payloads[0]["once"] == alone[0]["once"]
    assert [without_clocks(payload["metrics"]) for payload in payloads] == [without_clocks(p["metrics"]) for p in alone]


def test_nothing_raises_however_wrong_the_request(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(inner: torch.nn.Module) -> torch.nn.Module:
        raise MemoryError("too large")

    register_variant(monkeypatch, "too_large", refuse)
    trainable = make(config(small_request(tmp_path, architecture="no_such")))
    assert results(trainable)[-1]["outcome"] == "failed"
    assert trainable.reset(config(small_request(tmp_path, architecture="too_large")))
    assert results(trainable)[-1]["outcome"] == "oom"
    assert trainable.reset({CONFIGURATION: json.dumps({"request": {"run": "r9", "unknown": 1}})})
    (payload,) = results(trainable)
    assert (payload["run"], payload["outcome"], payload["error"]["type"]) == ("r9", "failed", "KeyError")
    assert trainable.reset({})
    assert results(trainable)[-1]["outcome"] == "failed"
    assert trainable.reset(config(small_request(tmp_path)))
    assert results(trainable)[-1]["outcome"] == "completed"


def test_a_checkpoint_of_tune_carries_the_run_to_another_actor(tmp_path: Path, make: Any) -> None:
    request = small_request(tmp_path, folder=None)
    expected = results(make(config(request)))
    first, second = make(config(request)), make(config(request))
    first.train()
    (tmp_path / "tune").mkdir()
    assert first.save_checkpoint(str(tmp_path / "tune")) is None
    second.load_checkpoint(str(tmp_path / "tune"))
    payloads = results(second)
    assert [payload["progress"] for payload in payloads] == [1, 2, 3], "the step of the checkpoint is told again"
    assert payloads[0]["begun"]["continued_from"] == 1
    assert without_clocks(payloads[-1]["metrics"]) == without_clocks(expected[-1]["metrics"])


def test_a_run_without_a_session_can_be_checkpointed_too(tmp_path: Path, make: Any) -> None:
    trainable = make(config(small_request(tmp_path, architecture="no_such")))
    (tmp_path / "tune").mkdir()
    trainable.save_checkpoint(str(tmp_path / "tune"))
    trainable.load_checkpoint(str(tmp_path / "tune"))
    assert results(trainable)[-1]["outcome"] == "failed"


def test_a_process_that_a_run_left_unclean_ends_instead_of_taking_another(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Replaced(BaseException):
        pass

    def exit_actor() -> None:
        raise Replaced

    monkeypatch.setattr("ray.actor.exit_actor", exit_actor)
    monkeypatch.setattr(RunWorker, "is_clean", property(lambda worker: worker.leftover_mib < 0))
    trainable = make(config(small_request(tmp_path)))
    trainable.train()
    with pytest.raises(Replaced):
        trainable.reset(config(small_request(tmp_path, run="r2")))


def test_a_run_is_heard_from_its_begin_to_its_end(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("trainables.ray_trainable._heartbeat", lambda watching: Heartbeat(told.append, 0.0))
    trainable = make(config(small_request(tmp_path)))
    assert told == [], "a process that waits for its first step is not watched"
    trainable.train()
    assert set(told) == {"r1#1"} and len(told) > 10
    results(trainable)
    heard = len(told)
    assert trainable.reset(config(small_request(tmp_path, run="r2")))
    assert len(told) == heard, "nor is one between two runs"
    trainable.train()
    assert told[heard] == "r2#1"


def test_a_run_that_was_ended_elsewhere_is_left_at_once_and_no_other(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str | None] = []
    stop = RunWorker.stop

    def noted(worker: RunWorker) -> None:
        left.append(worker._request.run if worker._request else None)
        stop(worker)

    trainable = make(config(small_request(tmp_path)))
    trainable.train()
    monkeypatch.setattr(RunWorker, "stop", noted)
    trainable.leave("r1#2")
    trainable.leave("r0#1")
    assert left == []
    trainable.leave("r1#1")
    assert left == ["r1"]
    trainable.leave("r1#1")
    assert left == ["r1"], "once"
    assert trainable.reset(config(small_request(tmp_path, run="r2")))
    trainable.leave("r1#1")
    assert results(trainable)[-1]["outcome"] == "completed", "a late word about the run before changes nothing"


def test_a_process_on_a_gpu_in_quarantine_asks_to_be_replaced(tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Replaced(BaseException):
        pass

    def exit_actor() -> None:
        raise Replaced

    asked: list[Any] = []
    monkeypatch.setattr("ray.actor.exit_actor", exit_actor)
    monkeypatch.setattr("trainables.ray_trainable._may_begin", lambda *arguments: bool(asked.append(arguments)))
    reservation = {"cpus": 1.0, "gpus": 0.5, "limit_mib": 900.0, "predicted_mib": 800.0}
    trainable = make(config(small_request(tmp_path), reservation=reservation, tenancy={"register": "somebody"}))
    assert asked == [], "nobody is asked before the run begins"
    with pytest.raises(Replaced):
        trainable.step()
    assert asked == [("r1#1", reservation, {"register": "somebody"})]
    assert trainable._worker._request is None, "nothing was begun"


def test_where_nobody_knows_who_is_on_which_gpu_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _may_begin("r1#1", {}, {"register": "somebody"}), "on the CPU there is nobody to ask"
    monkeypatch.setattr("trainables.ray_trainable.assigned_gpus", lambda: ["GPU-1"])
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    assert _may_begin("r1#1", {}, None)

    def get_actor(name: str) -> None:
        raise ValueError(f"there is no actor {name}")

    monkeypatch.setattr("ray.get_actor", get_actor)
    assert _may_begin("r1#1", {}, {"register": "somebody who is no more"})


def test_without_a_gpu_from_ray_a_run_is_on_the_cpu() -> None:
    assert assigned_device() == torch.device("cpu")
