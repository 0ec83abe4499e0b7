"""The task ``language_modeling``: what is measured, what modules are given, and that runs of it work."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from language_corpora import CPU, SMALL, configured, prepared, text_of
from torch import Tensor, nn

from trainables.configuration import ConfigurationError
from trainables.language import CorpusReader, TokenBatch
from trainables.prepared import prepare_data
from trainables.registry import architectures
from trainables.task import Task
from trainables.tasks.language_modeling import LanguageModelingTask
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession


class Uniform(nn.Module):
    """A module over tokens that prefers nothing."""

    def hidden_states(self, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, 1)

    def output_head(self, states: Tensor) -> Tensor:
        return states.expand(*states.shape[:-1], 257)


class Written(nn.Module):
    """Log-probabilities that follow from a target's position alone; keeps what it was asked for."""

    reads_stretches = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[TokenBatch] = []

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        self.seen.append(batch)
        return -(batch.positions % 5 + 1.0)


class Stretched(Written):
    reads_stretches = True


class Based(Written):
    asked = 0

    def base_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        self.asked += 1
        return -2 * (batch.positions % 5 + 1.0)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> LanguageModelingTask:
    return prepared(tmp_path_factory.mktemp("data"), eval_stride=5)


def adapted(task: LanguageModelingTask, module: nn.Module) -> nn.Module:
    task.adapt_to(module)
    return module.eval()


def test_a_uniform_model_has_the_perplexity_of_the_vocabulary_and_its_bits_for_each_byte(task: LanguageModelingTask) -> None:
    measured = task.evaluate(adapted(task, Uniform()), 4)
    assert measured["val/loss"] == pytest.approx(math.log(257))
    assert measured["val/perplexity"] == pytest.approx(257)
    size = sum(map(len, text_of(task, "val")))
    assert measured["val/bits_per_byte"] == pytest.approx(math.log2(257) * 120 / size)
    assert size == 121 - (task.data.tokens["val"] == 256).sum()


def test_words_are_counted_as_a_reader_would(task: LanguageModelingTask) -> None:
    measured = task.evaluate_finally(adapted(task, Written()), 4)
    nats = sum(position % 5 + 1 for position in range(90))
    words = sum(len(document.split()) for document in text_of(task, "test"))
    assert measured["test/loss"] == pytest.approx(nats / 90)
    assert measured["test/word_perplexity"] == pytest.approx(math.exp(nats / words))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("module_type", [Written, Stretched])
def test_each_target_counts_once_however_the_text_is_cut(task, module_type, batch_size) -> None:
    measured = task.evaluate(adapted(task, module_type()), batch_size)
    assert measured["val/loss"] == pytest.approx(sum(position % 5 + 1 for position in range(120)) / 120)


def test_an_endless_loss_is_a_large_perplexity(task: LanguageModelingTask) -> None:
    class Hopeless(Written):
        def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
            return torch.full(batch.ids.shape, -1e4)

    measured = task.evaluate(adapted(task, Hopeless()), 4)
    assert measured["val/perplexity"] == math.exp(700) and measured["val/loss"] == 1e4


def test_a_module_is_compared_to_its_base_which_is_asked_once(task: LanguageModelingTask) -> None:
    module = Based()
    measured = task.evaluate(adapted(task, module), 4)
    asked = module.asked
    assert measured["val/base_perplexity"] == pytest.approx(math.exp(2 * measured["val/loss"]))
    assert measured["val/base_ratio"] == pytest.approx(measured["val/perplexity"] / measured["val/base_perplexity"])
    assert task.evaluate(module, 4) == measured and module.asked == asked > 0
    assert "test/base_ratio" in task.evaluate_finally(module, 4)
    assert "val/base_ratio" not in task.evaluate(adapted(task, Written()), 4)


def test_modules_with_a_memory_read_stretches_and_others_the_same_text_in_windows(task: LanguageModelingTask) -> None:
    batches = {}
    for module in (Written(), Stretched()):
        adapted(task, module)
        order = torch.tensor([3, 0, 31])
        batches[type(module)] = list(task.train_batches(2, order))
        task.evaluate(module, 2)
        assert module.seen[0].ids.shape[1] == (48 if module.reads_stretches else 16)
    assert [batch.ids.shape for batch in batches[Stretched]] == [(2, 32), (1, 32)]
    assert [batch.ids.shape for batch in batches[Written]] == [(4, 16), (2, 16)]
    for long, short in zip(batches[Stretched], batches[Written], strict=True):
        assert torch.equal(long.ids.flatten(), short.ids.flatten())
    assert (task.examples_per_epoch, task.tokens_per_example, task.windows_per_example(task.configuration)) == (32, 32, 2)
    assert task.epoch_tokens(task.configuration) == 32 * 32


@pytest.mark.parametrize("module_type", [Written, Stretched])
def test_the_tokens_of_an_evaluation_are_those_that_a_module_is_given(task, module_type) -> None:
    module = adapted(task, module_type())
    task.evaluate(module, 3)
    assert task.tokens_per_evaluation == sum(batch.ids.numel() for batch in module.seen)


def test_a_head_that_is_fitted_on_validation_text_sees_the_split_fit(task: LanguageModelingTask) -> None:
    class Head(Written):
        fits_on_validation = True

    adapted(task, Head())
    (batch,) = task.train_batches(9, torch.arange(task.examples_per_epoch))
    assert batch.split == "fit" and batch.scored.sum() == 100


def test_a_module_may_order_the_examples(task: LanguageModelingTask) -> None:
    class Ordering(Written):
        batching = "bm25"

        def order_examples(self, order: Tensor, batch_size: int) -> Tensor:
            assert batch_size == 2
            return order.flip(0)

    adapted(task, Ordering())
    first = next(task.train_batches(2, torch.arange(task.examples_per_epoch)))
    assert first.positions[:, 0].tolist() == [968, 984, 960, 976]
    assert first.scored.sum() == 1000 % 32 + 32


def test_the_loss_is_the_mean_of_what_is_scored_unless_a_module_has_its_own(task: LanguageModelingTask) -> None:
    class Own(Written):
        def training_loss(self, batch: TokenBatch) -> Tensor:
            return torch.tensor(7.0)

    adapted(task, Written())
    (batch,) = task.train_batches(1, torch.tensor([31]))
    scored = batch.positions[batch.scored]
    assert scored.tolist() == list(range(992, 1000))
    assert task.loss(Written(), batch).item() == pytest.approx((scored % 5 + 1.0).mean().item())
    assert task.loss(Own(), batch).item() == 7.0


def test_a_module_that_stores_is_shown_the_task_before_each_evaluation(task: LanguageModelingTask) -> None:
    class Storing(Written):
        shown: tuple[int, ...] = ()

        def before_evaluation(self, data: CorpusReader) -> None:
            assert not self.seen
            sizes = [sum(b.scored.sum().item() for b in data.evaluation_batches("train", 4, windows=w)) for w in (True, False)]
            self.shown = (*self.shown, *sizes)

    module = adapted(task, Storing())
    task.evaluate(module, 4)
    module.seen.clear()
    task.evaluate_finally(module, 4)
    assert module.shown == (1000, 1000), "nothing was trained between the two"
    next(task.train_batches(2, torch.arange(task.examples_per_epoch)))
    module.seen.clear()
    task.evaluate_finally(module, 4)
    assert module.shown == (1000, 1000, 1000, 1000)


def test_what_parts_saw_and_what_the_module_tells_come_with_the_last_metrics(task: LanguageModelingTask) -> None:
    class Part(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value, self.looking = value, False

        def begin_observation(self) -> None:
            self.looking = True

        def end_observation(self) -> dict[str, float]:
            self.looking = False
            return {"gate/mean": self.value}

    class Whole(Written):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([Part(0.25), Part(0.75)])
            self.observed: set[str] = set()

        def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
            self.observed |= {batch.split} if all(part.looking for part in self.parts) else set()
            return super().target_log_probabilities(batch)

        def final_metrics(self) -> dict[str, float]:
            return {"retrieval/recall": 0.5}

    module = adapted(task, Whole())
    metrics = task.evaluate_finally(module, 4)
    assert metrics["gate/mean"] == 0.5 and metrics["retrieval/recall"] == 0.5
    assert module.observed == {"val"}
    assert not any(part.looking for part in module.parts)


def test_a_run_measures_what_its_class_names() -> None:
    measures = LanguageModelingTask.measures
    gpt = architectures()["gpt"]
    assert measures("val/loss", gpt) and measures("test/word_perplexity", gpt)
    assert not measures("val/base_ratio", gpt) and not measures("slots/usage", gpt)


def test_all_metrics_that_are_measured_are_declared(task: LanguageModelingTask) -> None:
    module = adapted(task, Based())
    assert set(task.evaluate(module, 4)) == set(task.metrics)
    declared = {name for name in task.final_metrics if name.startswith("test/")}
    assert set(task.evaluate_finally(module, 4)) == declared
    assert set(task.reported_metrics) <= {*task.metrics, *task.final_metrics}


def test_data_are_shared_between_runs_that_cut_them_differently(tmp_path: Path) -> None:
    folders = {
        prepare_data(tmp_path, LanguageModelingTask, configured(**values))
        for values in ({}, {"input_seq_len": 8}, {"segments": 3}, {"eval_stride": 4}, {"eval_segments": 1})
    }
    assert len(folders) == 1
    assert prepare_data(tmp_path, LanguageModelingTask, configured(seed=1)) not in folders
    assert prepare_data(tmp_path, LanguageModelingTask, configured(test_tokens=91)) not in folders
    assert "python" in LanguageModelingTask.data_values(configured(corpus="stdlib"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eval_stride": 17}, "eval_stride must be at most input_seq_len"),
        ({"train_tokens": 31}, "more than train_tokens"),
        ({"fit_tokens": 31}, "more than fit_tokens"),
    ],
)
def test_windows_must_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configured(**values)


@pytest.mark.parametrize("architecture", ["gpt", "pkm"])
def test_a_model_learns_from_the_text(tmp_path: Path, architecture: str) -> None:
    model = {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8, "use_ffn": True}
    memory = {"n_subkeys": 4, "n_neighbors": 3, "memory_heads": 2, "query_dim": 8} if architecture == "pkm" else {}
    request = RunRequest(
        run="run",
        architecture=architecture,
        task="language_modeling",
        model={**model, **memory},
        task_values=SMALL,
        training={"epochs": 4, "lr": 1e-2, "batch_size": 4},
        artifacts=tmp_path,
    )
    session = TrainingSession(request, CPU)
    session.start()
    reports = [session.step().metrics for _ in range(4)]
    assert reports[-1]["val/loss"] < reports[0]["val/loss"] < math.log(257)
    assert reports[-1]["test/perplexity"] == pytest.approx(math.exp(reports[-1]["test/loss"]))
    usage = {name for name in reports[-1] if name.startswith("slots/")}
    assert usage == ({"slots/usage", "slots/kl"} if architecture == "pkm" else set())


def test_prepared_data_are_those_of_the_corpus(task: LanguageModelingTask) -> None:
    assert {split: task.data.count(split) for split in task.data.tokens} == {"train": 1000, "fit": 100, "val": 120, "test": 90}
    assert isinstance(task, Task) and isinstance(task.evaluation_batches("val", 2, windows=True), Iterator)
    assert task.data.meta["bytes"]["train"] == sum(map(len, text_of(task, "train")))
