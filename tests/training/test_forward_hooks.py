"""Signs of life: from every forward pass, training or evaluating, however the task calls the module."""

from pathlib import Path

import pytest
import torch
from small_runs import CPU, MODELS, Intercepted, register_variant, small_request, started
from torch import nn

from trainables.training.forward_hooks import beat_on_forward
from trainables.training.session import TrainingSession
from trainables.training.worker import RunWorker


class Counter:
    def __init__(self) -> None:
        self.beats = 0

    def __call__(self) -> None:
        self.beats += 1

    def during(self, action: object) -> int:
        before = self.beats
        action()  # type: ignore[operator]
        return self.beats - before


@pytest.mark.parametrize("architecture", [*MODELS, "wrapped"])
def test_training_and_evaluation_beat_in_every_pass_and_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    register_variant(monkeypatch, "wrapped", lambda inner: Intercepted(inner, lambda _, states: states))
    counter = Counter()
    session = TrainingSession(small_request(tmp_path, architecture=architecture), CPU)
    session.beat = counter
    session.start()
    (batch,) = session.task.train_batches(200, torch.arange(200))
    with torch.inference_mode():
        assert counter.during(lambda: session.module.hidden_states(batch.inputs[:2])) >= 1
        assert counter.during(lambda: session._evaluate({})) >= 1
        small_batches = counter.during(lambda: session.task.evaluate(session.module, 5))
    assert small_batches >= 10, "50 examples in passes of 5"
    assert counter.during(lambda: session._accumulate(batch, 0, 1)) >= 2, "the pass and the step"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_cost_does_not_grow_with_every_small_part(depth: int) -> None:
    counter = Counter()
    block = nn.Sequential(*(nn.Sequential(*(nn.Sequential(nn.Identity(), nn.Identity()) for _ in range(9))) for _ in range(9)))
    blocks = nn.ModuleList([block] * depth)
    beat_on_forward(blocks, counter)
    beats = counter.during(lambda: [block(torch.ones(1)) for block in blocks])
    assert beats == (1 + 9) * depth, "not 1 + 9 + 81 + 162"


def test_a_module_is_called_as_without_a_watcher(tmp_path: Path) -> None:
    watched, plain = (started(small_request(tmp_path)) for _ in range(2))
    beat_on_forward(watched.module, lambda: None)
    assert watched.step().metrics["train/loss"] == plain.step().metrics["train/loss"]


def test_the_worker_beats_when_a_run_begins_and_at_each_step(tmp_path: Path) -> None:
    counter = Counter()
    worker = RunWorker(CPU, beat=counter)
    assert counter.during(lambda: worker.start(small_request(tmp_path))) >= 2
    assert counter.during(worker.advance) >= 7 + 1, "seven steps and an evaluation"
    worker.stop()
    assert counter.during(lambda: worker.start(small_request(tmp_path))) >= 2
    assert counter.during(worker.advance) >= 1, "also when it repeats a step"


def test_a_watcher_that_fails_ends_the_run_as_a_result(tmp_path: Path) -> None:
    def fail() -> None:
        raise ConnectionError("nobody listens")

    worker = RunWorker(CPU, beat=fail)
    worker.start(small_request(tmp_path))
    assert worker.advance()["error"]["type"] == "ConnectionError"
