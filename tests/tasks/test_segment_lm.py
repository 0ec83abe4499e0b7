"""The task ``segment_lm``: what is measured, of which modules, and that runs of it work."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segment_texts import (
    ASKING,
    CPU,
    SMALL,
    CopyingFromMemory,
    Remembering,
    Written,
    configured,
    nats,
    prepared,
    without_speed,
    write_ids,
)
from torch import Tensor, nn

from trainables.language import RememberingModule, TokenBatch
from trainables.prepared import prepare_data
from trainables.registry import architectures
from trainables.tasks._segments.crops import evaluation_places
from trainables.tasks.segment_lm import SegmentLmTask
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

GPT = {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8}
QWEN = {
    "model_type": "qwen2",
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MODELS: dict[str, dict[str, Any]] = {
    "gpt": GPT,
    "delta_net": {"dim": 16, "n_layers": 1, "n_heads": 2},
    "memorizing_transformer": GPT,
    "causal_lm": {"backbone": {"config": QWEN}},
}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SegmentLmTask:
    return prepared(tmp_path_factory.mktemp("data"))


def expected_nats(split: Any, targets: int, length: int) -> np.ndarray:
    """(crops, length): what :class:`Written` gives in the crops of a split."""
    places = evaluation_places(split, targets, length, 7, 0)
    return np.array([[nats(place + offset) for offset in range(length)] for place in places.tolist()])


def test_losses_are_those_of_the_crops_and_their_segments(task: SegmentLmTask) -> None:
    measured = task.evaluate(Written(), 3)
    val, train = expected_nats("val", 900, 48), expected_nats("train", 1500, 24)
    assert measured["val/loss"] == pytest.approx(val.mean(), abs=1e-12)
    assert measured["train_crop/loss"] == pytest.approx(train.mean(), abs=1e-12)
    for place in range(6):
        assert measured[f"val/segment_loss/0{place}"] == pytest.approx(val[:, 8 * place : 8 * place + 8].mean(), abs=1e-12)
    for place in range(3):
        found = measured[f"train_crop/segment_loss/0{place}"]
        assert found == pytest.approx(train[:, 8 * place : 8 * place + 8].mean(), abs=1e-12)
    assert measured["val/late_loss"] == measured["val/segment_loss/05"]
    assert measured["val/perplexity"] == math.exp(measured["val/loss"])
    assert "val/segment_loss/06" not in measured and "train_crop/segment_loss/03" not in measured


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_the_size_of_batches_changes_no_figure(task: SegmentLmTask, batch_size: int) -> None:
    for module in (Written(), Remembering()):
        one, other = (without_speed(task.evaluate(module, size)) for size in (1, batch_size))
        assert one == other
        assert task.evaluate_finally(module, 1) == task.evaluate_finally(module, batch_size)


def test_a_memory_is_compared_to_full_attention_on_the_same_crops(task: SegmentLmTask) -> None:
    measured = task.evaluate(Remembering(), 4)
    for part in ("val", "train_crop"):
        assert measured[f"{part}/full_attention_loss"] == pytest.approx(measured[f"{part}/loss"] / 2)
        assert measured[f"{part}/full_attention_perplexity"] == math.exp(measured[f"{part}/full_attention_loss"])
    ratio = measured["val/perplexity"] / measured["val/full_attention_perplexity"]
    assert measured["val/full_attention_ratio"] == pytest.approx(ratio)


def test_a_memory_is_worth_what_the_memory_of_another_crop_does_not_give(task: SegmentLmTask) -> None:
    loss = task.evaluate(Remembering(), 3)["val/loss"]
    finally_measured = task.evaluate_finally(Remembering(), 3)
    exchanged = 3 * np.roll(expected_nats("val", 900, 48), -1, axis=0).mean()
    assert finally_measured == pytest.approx(
        {"val/loss_memory_cleared": 2 * loss, "val/loss_memory_exchanged": exchanged, "val/memory_gain": exchanged - loss}
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_crop_has_the_memory_of_the_next_one_whatever_the_batches(tmp_path: Path, batch_size: int) -> None:
    class Strange(Remembering):
        """Depends on which rows meet, not only on which there are."""

        def controlled_target_log_probabilities(self, batch: TokenBatch, control: Any) -> Tensor:
            assert control == "cleared" or len(batch.ids) > 1
            return -nats(batch.positions) * nats(batch.positions.roll(-1, 0))

    task = prepared(tmp_path, eval_crops=5)
    own = np.array([nats(place + np.arange(48)) for place in evaluation_places("val", 900, 48, 5, 0).tolist()])
    expected = (own * np.roll(own, -1, axis=0)).mean()
    assert task.evaluate_finally(Strange(), batch_size)["val/loss_memory_exchanged"] == pytest.approx(expected)


def test_declared_metrics_are_those_that_are_measured(tmp_path: Path) -> None:
    module, asking = CopyingFromMemory(), prepared(tmp_path, **{**ASKING, "n_questions": 2, "eval_crops": 2})
    measured = set(without_speed(asking.evaluate(module, 8)))
    numbered = {name for name in measured if "/segment_loss/" in name}
    assert measured - numbered == set(SegmentLmTask.metrics)
    assert {name.rpartition("/")[0] for name in numbered} == {*SegmentLmTask.position_metrics, "train_crop/segment_loss"}
    assert set(asking.evaluate_finally(module, 8)) == set(SegmentLmTask.final_metrics)
    declared = {**SegmentLmTask.metrics, **SegmentLmTask.final_metrics}
    assert {*SegmentLmTask.reported_metrics, *SegmentLmTask.baselines, *SegmentLmTask.baselines.values()} <= set(declared)
    assert {name for names in SegmentLmTask.length_metrics.values() for name in names} <= set(declared)


def test_only_modules_with_a_memory_have_figures_of_it() -> None:
    gpt = architectures()["gpt"]
    of_a_memory = {name for name in SegmentLmTask.metrics | SegmentLmTask.final_metrics if not SegmentLmTask.measures(name, gpt)}
    without = {"val/loss", "val/perplexity", "val/late_loss", "train_crop/loss", "train_crop/perplexity", "recall/accuracy"}
    assert of_a_memory == {*SegmentLmTask.metrics, *SegmentLmTask.final_metrics} - without
    assert isinstance(Remembering(), RememberingModule) and not isinstance(Written(), RememberingModule)


def test_a_module_may_be_trained_on_a_loss_of_its_own(task: SegmentLmTask) -> None:
    class Own(Written):
        def training_loss(self, batch: TokenBatch) -> Tensor:
            return torch.tensor(7.0)

    (batch,) = task.train_batches(10, torch.arange(10))
    assert batch.ids.shape == (10, 24) and batch.split == "train"
    assert task.loss(Own(), batch).item() == 7
    assert task.loss(Written(), batch).item() == pytest.approx(nats(batch.positions).mean().item())


def test_every_example_is_trained_on_once_in_the_order_that_is_given(task: SegmentLmTask) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    plain = torch.cat([batch.positions[:, 0] for batch in task.train_batches(4, torch.arange(10))])
    ordered = torch.cat([batch.positions[:, 0] for batch in task.train_batches(3, order)])
    assert torch.equal(ordered, plain[order]) and len(plain) == task.examples_per_epoch == 10
    assert SegmentLmTask.epoch_tokens(task.configuration) == 240


def test_data_are_shared_between_runs_that_cut_them_differently(tmp_path: Path) -> None:
    def folder(**values: Any) -> Path:
        return prepare_data(tmp_path, SegmentLmTask, configured(**values))

    cut = {folder(), folder(train_length=48), folder(val_length=24, n_segments=3), folder(eval_crops=3), folder(target_loss=1.0)}
    assert len(cut) == 1
    assert not cut & {folder(seed=1), folder(val_tokens=800), folder(**{**ASKING, "n_questions": 1})}
    ids = str(write_ids(tmp_path / "ids"))
    flat = {folder(tokens=ids), folder(tokens=ids, seed=1), folder(tokens=ids, val_tokens=100, n_questions=3)}
    assert len(flat) == 1 and not flat & cut
    assert "python" in SegmentLmTask.data_values(configured(corpus="stdlib"))


def session_of(architecture: str, artifacts: Path, training: dict[str, Any], **values: Any) -> TrainingSession:
    request = RunRequest(
        run="run",
        architecture=architecture,
        task="segment_lm",
        model=MODELS[architecture],
        task_values={**SMALL, **values},
        training=training,
        artifacts=artifacts,
    )
    session = TrainingSession(request, CPU)
    session.start()
    return session


@pytest.mark.parametrize("architecture", MODELS)
def test_models_run_trained_and_as_they_are(tmp_path: Path, architecture: str) -> None:
    asking = {**ASKING, "n_questions": 2}
    for epochs in (0, 1):
        metrics = session_of(architecture, tmp_path, {"epochs": epochs}, **asking).step().metrics
        by_segment = [metrics[f"val/segment_loss/{place:02}"] for place in range(20)]
        assert metrics["val/loss"] == pytest.approx(sum(by_segment) / 20, abs=1e-12)
        assert metrics["val/perplexity"] == math.exp(metrics["val/loss"])
        assert 0 <= metrics["recall/accuracy"] <= 1 and metrics["throughput/inference_tokens_per_s"] > 0
        assert ("train/loss" in metrics) == (epochs == 1) and "val/full_attention_loss" not in metrics


@pytest.mark.parametrize("architecture", ["gpt", "causal_lm"])
def test_the_size_of_batches_hardly_changes_the_figures_of_a_model(task: SegmentLmTask, architecture: str) -> None:
    torch.manual_seed(0)
    entry = architectures()[architecture]
    module: nn.Module = entry.build(entry.configuration.from_values(MODELS[architecture]), task.configuration).eval()
    with torch.inference_mode():
        one, two, five = (without_speed(task.evaluate(module, size)) for size in (1, 2, 5))
    assert one == pytest.approx(two, rel=1e-5) and one == pytest.approx(five, rel=1e-5)


def test_a_model_learns_from_the_crops_and_its_target_is_noted(tmp_path: Path) -> None:
    training = {"epochs": 4, "lr": 1e-2, "batch_size": 2, "gradient_accumulation": 1}
    session = session_of("gpt", tmp_path, training, target_loss=5.4, train_crops=40)
    reports = [session.step().metrics for _ in range(4)]
    assert reports[-1]["val/loss"] < reports[0]["val/loss"] < math.log(257)
    assert reports[-1]["val/loss"] < 5.4 and reports[-1]["time/to_target_s"] > 0
    assert SegmentLmTask(configured(), session.prepared, CPU).target is None
