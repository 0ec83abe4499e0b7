"""The task ``language_modeling``: predict each token of a text from those before it.

Corpora, tokenisers and the division into splits are in ``trainables/tasks/_language``; what modules may offer besides hidden
states and an output head is in ``trainables/language.py``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.architecture import Architecture
from trainables.language import BasedModule, OwnLoss, Split, StoringModule, TokenBatch, target_log_probabilities
from trainables.observation import Observed, observe
from trainables.task import EpochTask, Mode, register_task
from trainables.tasks._language.configuration import LanguageModelingConfiguration
from trainables.tasks._language.corpora import corpus_tokens, write_corpus
from trainables.tasks._language.corpus_data import CorpusData, TrainingExamples, as_windows, stretches, windows
from trainables.tasks._language.scores import bits_per_byte, perplexity

_BASE_METRICS = ("val/base_perplexity", "val/base_ratio", "test/base_perplexity", "test/base_ratio")

_MEASURED_BY_MODULES: dict[str, Mode] = {
    "gate/mean": "max",
    "gate/std": "max",
    "slots/usage": "max",
    "slots/kl": "min",
    "knn/weight_mean": "max",
    "knn/weight_std": "max",
    "retrieval/recall": "max",
    "datastore/mib": "min",
    "adaptive/weight_fixed": "max",
    "adaptive/weight_smallest": "max",
    "adaptive/weight_largest": "max",
    "adaptive/fit_gain": "max",
}
"""What some modules tell of themselves, those whose class names it in ``measured``."""


@register_task("language_modeling")
class LanguageModelingTask(EpochTask):
    """Language modeling: predict each token of a text; corpora are made, from Python's library, or from a path."""

    kind = "tokens"
    configuration_type = LanguageModelingConfiguration
    configuration: LanguageModelingConfiguration
    metrics: ClassVar = {
        "val/loss": "min",
        "val/perplexity": "min",
        "val/bits_per_byte": "min",
        "val/base_perplexity": "min",
        "val/base_ratio": "min",
    }
    final_metrics: ClassVar = {
        "test/loss": "min",
        "test/perplexity": "min",
        "test/bits_per_byte": "min",
        "test/word_perplexity": "min",
        "test/base_perplexity": "min",
        "test/base_ratio": "min",
        **_MEASURED_BY_MODULES,
    }
    reported_metrics = ("val/bits_per_byte", "test/perplexity", "test/base_ratio")
    baseline_ratios: ClassVar = {"val/perplexity": "val/base_ratio"}
    training_defaults: ClassVar = {
        "optimizer": "adamw",
        "lr": 1e-3,
        "batch_size": 8,
        "eval_batch_size": 32,
        "clip_grad": 1.0,
        "weight_decay": 0.01,
        "epochs": 3,
    }

    def __init__(self, configuration: LanguageModelingConfiguration, folder: Path, device: torch.device) -> None:
        super().__init__(configuration, folder, device)
        self.data = CorpusData(folder)
        self._reads_stretches = self._looks_up = False
        self._order_examples: Callable[[Tensor, int], Tensor] | None = None
        self._examples = self._examples_of("train")
        self._base_nats: dict[Split, float] = {}
        self._has_stored = False

    @classmethod
    def measures(cls, metric: str, architecture: Architecture) -> bool:
        if metric in _BASE_METRICS:
            return hasattr(architecture.build, "base_target_log_probabilities")
        return metric not in _MEASURED_BY_MODULES or metric in getattr(architecture.build, "measured", ())

    @classmethod
    def inspect(cls, configuration: Any) -> None:
        corpus_tokens(configuration)

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """What decides the tokens: not how they are cut into windows; of the standard library also the version of Python."""
        names = (
            "corpus",
            "text_column",
            "tokenizer",
            "boundary",
            "train_tokens",
            "fit_tokens",
            "val_tokens",
            "test_tokens",
            "seed",
        )
        identity = configuration.identity_values()
        version = {"python": platform.python_version()} if configuration.corpus == "stdlib" else {}
        return {name: identity[name] for name in names} | version

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Writes ``{train,fit,val,test}_{tokens,documents}.npy``, int32 (n + 1,), and ``meta.json``."""
        write_corpus(configuration, folder)

    @classmethod
    def epoch_tokens(cls, configuration: Any) -> int:
        examples = -(-configuration.train_tokens // configuration.example_tokens)
        return int(examples * configuration.example_tokens)

    @classmethod
    def windows_per_example(cls, configuration: Any) -> int:
        return int(configuration.segments)

    def adapt_to(self, module: nn.Module) -> None:
        """Gives stretches to a class with ``reads_stretches``, the split ``fit`` to train on to one with ``fits_on_validation``,
        and asks one with ``batching = "bm25"`` for the order of examples."""
        self._reads_stretches = getattr(module, "reads_stretches", False)
        self._looks_up = "val" in getattr(module, "retrieved_splits", ())
        self._examples = self._examples_of("fit" if getattr(module, "fits_on_validation", False) else "train")
        chosen = getattr(module, "batching", None) == "bm25"
        self._order_examples = module.order_examples if chosen else None  # type: ignore[assignment]
        self._base_nats = {}

    @property
    def examples_per_epoch(self) -> int:
        return len(self._examples)

    @property
    def tokens_per_example(self) -> int:
        return self.configuration.example_tokens

    @property
    def tokens_per_evaluation(self) -> int | None:
        """Positions of the windows or stretches of ``val``, those that are context alone included.

        None where a module has read them before (``retrieved_splits``), so that its evaluation is faster than the module: such a
        one measures itself.
        """
        if self._looks_up:
            return None
        count, length, stride = self.data.count("val"), self.configuration.input_seq_len, self.configuration.stride
        overlapping = 0 if self._reads_stretches else -(-max(0, count - length) // stride)
        return count + overlapping * (length - stride)

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[TokenBatch]:
        """``batch_size`` examples: (B, S) for modules that read stretches, else the same text as (B * segments, T)."""
        self._has_stored = False
        chosen = order if self._order_examples is None else self._order_examples(order, batch_size)
        for batch in self._examples.batches(chosen, batch_size):
            yield batch if self._reads_stretches else as_windows(batch, self.configuration.input_seq_len)

    def loss(self, module: nn.Module, batch: TokenBatch) -> Tensor:
        """Mean nats of the scored targets, unless the module has a loss of its own."""
        if isinstance(module, OwnLoss):
            return module.training_loss(batch)
        return _nats(target_log_probabilities(module, batch), batch) / batch.scored.sum()

    def evaluation_batches(self, split: Split, batch_size: int, *, windows: bool) -> Iterator[TokenBatch]:
        """The text of a split: in sliding windows of T tokens, or in stretches of ``eval_segments`` windows each."""
        if windows:
            return self._windows(split, batch_size)
        return stretches(self.data, split, self._stretch_tokens, self.device, batch_size)

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Mean nats of the targets of ``val``, its exponential, bits per byte of their text, and the comparison to a base."""
        self._let_store(module)
        return self._measure(module, "val", batch_size)

    def evaluate_finally(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """The same of ``test``, the perplexity of a word, what parts of the module saw during a pass over ``val``, and what the
        module tells of itself."""
        if not self._has_stored:  # else it has, at the end of the same epoch
            self._let_store(module)
        metrics = self._measure(module, "test", batch_size)
        words = max(1, self.data.meta["words"]["test"])
        metrics["test/word_perplexity"] = perplexity(metrics["test/loss"] * self.data.count("test"), words)
        if any(isinstance(part, Observed) for part in module.modules()):
            metrics |= observe(module, lambda: self._look_over(module, batch_size))
        tell: Callable[[], dict[str, float]] | None = getattr(module, "final_metrics", None)
        return metrics if tell is None else metrics | tell()

    @property
    def _stretch_tokens(self) -> int:
        return self.configuration.eval_segments * self.configuration.input_seq_len

    def _examples_of(self, split: Split) -> TrainingExamples:
        return TrainingExamples(self.data, split, self.configuration.example_tokens, self.device)

    def _windows(self, split: Split, batch_size: int) -> Iterator[TokenBatch]:
        return windows(self.data, split, self.configuration.input_seq_len, self.configuration.stride, self.device, batch_size)

    def _batches(self, split: Split, batch_size: int) -> Iterator[TokenBatch]:
        return self.evaluation_batches(split, batch_size, windows=not self._reads_stretches)

    def _let_store(self, module: nn.Module) -> None:
        if isinstance(module, StoringModule):
            module.before_evaluation(self)
        self._has_stored = True

    def _look_over(self, module: nn.Module, batch_size: int) -> None:
        for batch in self._batches("val", batch_size):
            target_log_probabilities(module, batch)

    def _measure(self, module: nn.Module, split: Split, batch_size: int) -> dict[str, float]:
        count = self.data.count(split)
        nats = self._total(split, batch_size, lambda batch: target_log_probabilities(module, batch))
        metrics = {
            f"{split}/loss": nats / count,
            f"{split}/perplexity": perplexity(nats, count),
            f"{split}/bits_per_byte": bits_per_byte(nats, max(1, self.data.meta["bytes"][split])),
        }
        if isinstance(module, BasedModule):
            base = self._base_total(module, split, batch_size)
            metrics[f"{split}/base_perplexity"] = perplexity(base, count)
            metrics[f"{split}/base_ratio"] = perplexity(nats - base, count)
        return metrics

    def _base_total(self, module: BasedModule, split: Split, batch_size: int) -> float:
        """A base never changes, so it is asked once."""
        if split not in self._base_nats:
            self._base_nats[split] = self._total(split, batch_size, module.base_target_log_probabilities)
        return self._base_nats[split]

    def _total(self, split: Split, batch_size: int, log_probabilities: Callable[[TokenBatch], Tensor]) -> float:
        """Nats of all targets of a split."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self._batches(split, batch_size):
            total += _nats(log_probabilities(batch).double(), batch)
        return total.item()


def _nats(log_probabilities: Tensor, batch: TokenBatch) -> Tensor:
    return -torch.where(batch.scored, log_probabilities, 0.0).sum()
