"""Gradients averaged over several batches before an optimiser step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import small_request, started, to_the_end

from trainables.training.session import TrainingSession


def trained(folder: Path, batch_size: int, accumulated: int, **more: Any) -> TrainingSession:
    training = {"epochs": 2, "batch_size": batch_size, "gradient_accumulation": accumulated, **more}
    session = started(small_request(folder, training=training))
    to_the_end(session)
    return session


def parameters(session: TrainingSession) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in session.module.parameters()])


@pytest.mark.parametrize("clip", [None, 0.1])
def test_two_batches_of_twenty_are_a_batch_of_forty(tmp_path: Path, clip: float | None) -> None:
    once = trained(tmp_path / "once", 40, 1, clip_grad=clip)
    twice = trained(tmp_path / "twice", 20, 2, clip_grad=clip)
    torch.testing.assert_close(parameters(twice), parameters(once), rtol=1e-4, atol=1e-5)


def test_the_last_group_of_an_epoch_counts_though_it_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = started(small_request(tmp_path, training={"epochs": 1, "batch_size": 40, "gradient_accumulation": 2}))
    norms: list[float] = []
    step = session._optimizer.step

    def counted_step(*arguments: Any) -> Any:
        norms.append(sum(float(p.grad.norm()) for p in session.module.parameters() if p.grad is not None))
        return step(*arguments)

    monkeypatch.setattr(session._optimizer, "step", counted_step)
    to_the_end(session)
    assert len(norms) == 3, "200 examples are 5 batches of 40: two groups of two, and one alone"
    assert norms[2] > norms[1] / 2, "a group of one is not divided by two"


def test_one_batch_a_step_is_what_it_always_was(tmp_path: Path) -> None:
    assert torch.equal(parameters(trained(tmp_path / "a", 32, 1)), parameters(trained(tmp_path / "b", 32, 1)))
    assert not torch.equal(parameters(trained(tmp_path / "c", 32, 2)), parameters(trained(tmp_path / "d", 32, 1)))
