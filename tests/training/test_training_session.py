"""Sessions: what they report, how they end, and that a checkpoint loses nothing."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import CPU, MODELS, Intercepted, register_variant, small_request, started, to_the_end, without_clocks
from torch import Tensor, nn

from trainables import registry
from trainables.counts import SCOPES
from trainables.training.checkpoint import CheckpointRefused
from trainables.training.protocol import Diverged
from trainables.training.session import TrainingSession


def assert_same_state(first: TrainingSession, second: TrainingSession) -> None:
    for one, other in ((first.module, second.module),):
        for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
    moments = [session._optimizer.state_dict()["state"] for session in (first, second)]
    for index, moment in moments[0].items():
        assert all(torch.equal(moment[name], moments[1][index][name]) for name in moment)


@pytest.mark.parametrize("architecture", MODELS)
def test_going_on_from_a_checkpoint_equals_never_stopping_bit_for_bit(tmp_path: Path, architecture: str) -> None:
    assert architecture in registry.architectures()
    request = small_request(tmp_path, architecture=architecture, training={"epochs": 4})
    whole, interrupted = started(request), started(request)
    expected = [without_clocks(report.metrics) for report in to_the_end(whole)]
    interrupted.step(), interrupted.step()
    interrupted.save(tmp_path / "c.pt")
    torch.rand(100), np.random.rand(7), random.random()
    resumed = started(request)
    resumed.load(tmp_path / "c.pt")
    assert resumed.progress == 2
    assert [without_clocks(report.metrics) for report in to_the_end(resumed)] == expected[2:]
    assert_same_state(whole, resumed)


def test_a_module_that_draws_random_numbers_goes_on_with_the_same_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(module: nn.Module, states: Tensor) -> Tensor:
        return nn.functional.dropout(states, 0.3, module.training)

    register_variant(monkeypatch, "noisy", lambda inner: Intercepted(inner, drop))
    request = small_request(tmp_path, architecture="noisy")
    first = started(request)
    first.step()
    first.save(tmp_path / "c.pt")
    expected = [without_clocks(report.metrics) for report in to_the_end(first)]
    resumed = started(request)
    resumed.load(tmp_path / "c.pt")
    assert [without_clocks(report.metrics) for report in to_the_end(resumed)] == expected


def test_a_run_depends_on_its_seed_alone(tmp_path: Path) -> None:
    def last(seed: int) -> dict[str, float]:
        torch.rand(seed + 3)
        return without_clocks(to_the_end(started(small_request(tmp_path, seed=seed)))[-1].metrics)

    assert last(1) == last(1) != last(2)


@pytest.mark.parametrize("change", [{"seed": 1}, {"training": {"lr": 2e-3}}, {"architecture": "unified_kv"}])
def test_the_checkpoint_of_another_run_is_refused_and_changes_nothing(tmp_path: Path, change: dict) -> None:
    started(small_request(tmp_path)).save(tmp_path / "c.pt")
    other, untouched = (started(small_request(tmp_path, **change)) for _ in range(2))
    with pytest.raises(CheckpointRefused, match="another run"):
        other.load(tmp_path / "c.pt")
    assert_same_state(other, untouched)


def test_reports_count_from_one_and_hold_the_recorded_metrics(tmp_path: Path) -> None:
    session = started(small_request(tmp_path))
    reports = to_the_end(session)
    assert [(report.progress, report.finished) for report in reports] == [(1, False), (2, False), (3, True)]
    names = {"train/loss", "train/lr", "val/loss", "val/accuracy", "time/train_s", "time/total_s"}
    names |= {"throughput/tokens_per_s", "throughput/inference_tokens_per_s"}
    assert all(set(report.metrics) == names for report in reports)
    assert [report.metrics["train/lr"] for report in reports] == pytest.approx([1e-3, 0.95e-3, 0.95**2 * 1e-3])
    assert reports[0].metrics["train/loss"] == pytest.approx(math.log(64), abs=0.05)
    assert reports[0].metrics["train/loss"] > reports[2].metrics["train/loss"]
    assert 0 < reports[0].metrics["time/train_s"] < reports[2].metrics["time/train_s"] < reports[2].metrics["time/total_s"]
    assert session.step() == session.report_again() == reports[2]


def test_counts_are_measured_on_the_module(tmp_path: Path) -> None:
    session = started(small_request(tmp_path))
    once = session.once_metrics()
    assert {f"params/{scope}" for scope in SCOPES} | {"memory/weights_mib", "memory/estimated_mib"} == set(once)
    assert once["params/total"] == sum(parameter.numel() for parameter in session.module.parameters())
    assert once["memory/weights_mib"] == once["params/total"] * 4 / 2**20 < once["memory/estimated_mib"]


def test_no_epochs_evaluates_once(tmp_path: Path) -> None:
    session = started(small_request(tmp_path, training={"epochs": 0}))
    before = {name: value.clone() for name, value in session.module.state_dict().items()}
    report = session.step()
    assert report.finished and report.progress == 1
    assert set(report.metrics) == {
        "val/loss",
        "val/accuracy",
        "time/train_s",
        "time/total_s",
        "throughput/inference_tokens_per_s",
    }
    assert report.metrics["time/train_s"] == 0
    assert all(torch.equal(value, before[name]) for name, value in session.module.state_dict().items())


@pytest.mark.parametrize("stop", [True, False])
def test_the_target_is_noted_when_first_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: bool) -> None:
    accuracies = iter([0.5, 0.95, 0.2, 1.0])
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: {"val/loss": 1.0, "val/accuracy": next(accuracies)})
    request = small_request(tmp_path, training={"epochs": 4, "stop_at_target": stop}, task_values={"target_accuracy": 0.9})
    reports = to_the_end(started(request))
    assert len(reports) == (2 if stop else 4)
    assert "solved_epoch" not in reports[0].metrics and "time/to_target_s" not in reports[0].metrics
    for report in reports[1:]:
        assert report.metrics["solved_epoch"] == 2
        assert reports[0].metrics["time/total_s"] < report.metrics["time/to_target_s"] <= reports[1].metrics["time/total_s"]
    assert [report.improved for report in reports] == [True, True, False, True][: len(reports)]


def test_a_loss_that_is_no_number_ends_the_run_with_finite_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(module: Intercepted, states: Tensor) -> Tensor:
        return states * (math.nan if module.calls == 10 else 1.0)

    register_variant(monkeypatch, "exploding", lambda inner: Intercepted(inner, explode))
    session = started(small_request(tmp_path, architecture="exploding"))
    session.step()
    with pytest.raises(Diverged, match="the training loss is nan in epoch 2") as raised:
        session.step()
    assert raised.value.report.progress == 2
    assert all(math.isfinite(value) for value in raised.value.report.metrics.values())


def test_a_long_epoch_does_not_train_on_nan_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_variant(monkeypatch, "nan", lambda inner: Intercepted(inner, lambda _, states: states * math.nan))
    session = started(small_request(tmp_path, architecture="nan", training={"batch_size": 1}))
    with pytest.raises(Diverged):
        session.step()
    assert session.module.calls == 64 < 200


def test_an_infinite_objective_ends_the_run_and_keeps_what_is_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"val/loss": 2.0, "val/accuracy": math.inf}
    monkeypatch.setattr(registry.tasks()["mqar"], "evaluate", lambda *_: measured)
    with pytest.raises(Diverged, match="val/accuracy is inf in epoch 1") as raised:
        started(small_request(tmp_path)).step()
    metrics = raised.value.report.metrics
    assert metrics["val/loss"] == 2.0 and "val/accuracy" not in metrics and math.isfinite(metrics["train/loss"])


def test_batches_come_in_a_new_order_each_epoch_unless_told_otherwise(tmp_path: Path) -> None:
    shuffled, plain = started(small_request(tmp_path)), started(small_request(tmp_path, training={"shuffle": False}))
    first, second = shuffled._next_order(), shuffled._next_order()
    assert sorted(first.tolist()) == list(range(200)) and not torch.equal(first, second)
    assert plain._next_order().tolist() == list(range(200))


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_clipping_and_weight_decay_reach_the_optimiser(tmp_path: Path, optimizer: str) -> None:
    request = small_request(tmp_path, training={"optimizer": optimizer, "clip_grad": 1e-9, "weight_decay": 0.5, "lr": 0.1})
    session = started(request)
    (batch,) = session.task.train_batches(200, torch.arange(200))
    before = session.module.output_head.weight.detach().clone()
    loss = session._accumulate(batch, 0, 1)
    assert loss.item() == pytest.approx(math.log(64), abs=0.05)
    after = session.module.output_head.weight.detach()
    if optimizer == "adamw":
        assert (after - before * (1 - 0.1 * 0.5)).abs().max() < 0.1 * 0.1, "the clipped gradient is below Adam's epsilon"
    else:
        assert ((after - before).abs() > 0.09).float().mean() > 0.9, "decay in the gradient moves each weight by about lr"


def test_a_small_model_learns(tmp_path: Path) -> None:
    model = {"dim": 32, "n_layers": 1, "n_heads": 1, "dk": 16, "dv": 16}
    task = {"train_examples": 3000, "num_kv_pairs": 2, "input_seq_len": 8, "vocab_size": 16}
    request = small_request(
        tmp_path,
        architecture="delta_net",
        model=model,
        task_values=task,
        training={"epochs": 12, "lr": 1e-2, "stop_at_target": True},
    )
    report = to_the_end(started(request, CPU))[-1]
    assert report.metrics["val/accuracy"] >= 0.99 and report.metrics["solved_epoch"] == report.progress


def test_when_it_was_solved_is_remembered_across_a_checkpoint(tmp_path: Path) -> None:
    request = small_request(tmp_path, task_values={"target_accuracy": 1e-9}, training={"epochs": 2, "lr": 0.01})
    first, second = started(request), started(request)
    first._solved = {"solved_epoch": 1.0, "time/to_target_s": 0.25}
    first.step()
    first.save(tmp_path / "c.pt")
    second.load(tmp_path / "c.pt")
    metrics = second.step().metrics
    assert (metrics["solved_epoch"], metrics["time/to_target_s"]) == (1.0, 0.25)
