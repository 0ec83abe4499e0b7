"""The task ``segment_lm``: predict long crops of a text, and see how the loss goes on with the distance from their beginning.

Tokens come from flat files or from the corpora of ``language_modeling``; the parts are in ``trainables/tasks/_segments``.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.architecture import Architecture
from trainables.language import MemoryControl, OwnLoss, RememberingModule, Split, TokenBatch, target_log_probabilities
from trainables.task import EpochTask, Mode, Target, register_task
from trainables.tasks._language.corpora import corpus_tokens, told_pages, write_corpus
from trainables.tasks._language.scores import perplexity
from trainables.tasks._language.tokenizers import tokenizer_of
from trainables.tasks._segments.configuration import SegmentLmConfiguration
from trainables.tasks._segments.crops import CropData, Crops, evaluation_places, training_places
from trainables.tasks._segments.losses import LogProbabilities, SegmentLosses, segment_losses
from trainables.tasks._segments.questions import Questions, make_questions
from trainables.tasks._segments.token_files import inspect_token_files, write_token_files

_FULL_ATTENTION: dict[str, Mode] = {
    "val/full_attention_loss": "min",
    "val/full_attention_perplexity": "min",
    "val/full_attention_ratio": "min",
    "train_crop/full_attention_loss": "min",
    "train_crop/full_attention_perplexity": "min",
}
_MEMORY: dict[str, Mode] = {
    "val/loss_memory_cleared": "min",
    "val/loss_memory_exchanged": "min",
    "val/memory_gain": "max",
    "recall/accuracy_memory_cleared": "max",
    "recall/accuracy_full_attention": "max",
}
_CORPUS_FIELDS = ("corpus", "text_column", "tokenizer", "boundary", "train_tokens", "val_tokens", "seed")
_QUESTION_FIELDS = ("n_questions", "question_candidates", "val_length")


@register_task("segment_lm")
class SegmentLmTask(EpochTask):
    """Segment language modeling: loss by distance from the beginning of long crops, of a text or of flat token files."""

    kind = "tokens"
    configuration_type = SegmentLmConfiguration
    configuration: SegmentLmConfiguration
    metrics: ClassVar = {
        "val/loss": "min",
        "val/perplexity": "min",
        "val/late_loss": "min",
        "train_crop/loss": "min",
        "train_crop/perplexity": "min",
        **_FULL_ATTENTION,
    }
    final_metrics: ClassVar = {"recall/accuracy": "max", **_MEMORY}
    reported_metrics = ("val/perplexity", "val/late_loss", "val/full_attention_ratio", "val/memory_gain", "recall/accuracy")
    baseline_ratios: ClassVar = {"val/perplexity": "val/full_attention_ratio"}
    length_metrics: ClassVar = {
        "train_length": ("train_crop/loss", "train_crop/perplexity"),
        "val_length": ("val/loss", "val/perplexity"),
    }
    position_metrics: ClassVar = {"val/segment_loss": "val_length"}
    baselines: ClassVar = {
        "val/loss": "val/full_attention_loss",
        "val/perplexity": "val/full_attention_perplexity",
        "train_crop/loss": "train_crop/full_attention_loss",
        "train_crop/perplexity": "train_crop/full_attention_perplexity",
    }
    training_defaults: ClassVar = {
        "optimizer": "adamw",
        "lr": 4e-4,
        "beta1": 0.9,
        "beta2": 0.95,
        "weight_decay": 0.1,
        "clip_grad": 1.0,
        "batch_size": 1,
        "gradient_accumulation": 8,
        "eval_batch_size": 8,
        "epochs": 1,
    }

    def __init__(self, configuration: SegmentLmConfiguration, folder: Path, device: torch.device) -> None:
        super().__init__(configuration, folder, device)
        self.data = CropData(folder)
        self._trained = self._training_crops()
        self._validated = self._evaluated_crops("val", configuration.val_length)
        self._read_again = self._evaluated_crops("train", configuration.train_length)

    @classmethod
    def measures(cls, metric: str, architecture: Architecture) -> bool:
        remembers = hasattr(architecture.build, "controlled_target_log_probabilities")
        return remembers or (metric not in _FULL_ATTENTION and metric not in _MEMORY)

    @classmethod
    def why_unmeasured(cls, metric: str, configuration: Any) -> str | None:
        if configuration.asked or not metric.startswith("recall/"):
            return None
        return "nothing is asked: questions need corpus: facts, no tokens, and n_questions of 1 or more"

    @classmethod
    def inspect(cls, configuration: Any) -> None:
        if configuration.tokens is not None:
            inspect_token_files(configuration)
            return
        corpus_tokens(configuration)
        if configuration.asked:
            _questions(configuration)

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """What decides the tokens and the questions: not how crops are cut, unless there are questions, which fill them."""
        identity = configuration.identity_values()
        if configuration.tokens is not None:
            return {name: identity[name] for name in ("tokens", "token_dtype")}
        names = _CORPUS_FIELDS + (_QUESTION_FIELDS if configuration.asked else ())
        version = {"python": platform.python_version()} if configuration.corpus == "stdlib" else {}
        return {name: identity[name] for name in names} | version

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Writes ``{train,val}_tokens.npy`` (n + 1,), of corpora also ``{train,val}_documents.npy``, and the questions."""
        if configuration.tokens is not None:
            write_token_files(configuration, folder)
            return
        write_corpus(configuration, folder)
        if configuration.asked:
            _questions(configuration).write(folder)

    @classmethod
    def epoch_tokens(cls, configuration: Any) -> int:
        return int(configuration.train_crops * configuration.train_length)

    @property
    def examples_per_epoch(self) -> int:
        return self.configuration.train_crops

    @property
    def tokens_per_example(self) -> int:
        return self.configuration.train_length

    @property
    def target(self) -> Target | None:
        threshold = self.configuration.target_loss
        return None if threshold is None else Target("val/loss", threshold, "min")

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[TokenBatch]:
        return self._trained.batches(batch_size, order)

    def loss(self, module: nn.Module, batch: TokenBatch) -> Tensor:
        """Mean nats of the targets, unless the module has a loss of its own."""
        if isinstance(module, OwnLoss):
            return module.training_loss(batch)
        return -target_log_probabilities(module, batch).mean()

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Losses of both splits by segment and the speed of reading them; of a module with a memory also what the same weights
        reach with attention over everything, on the same crops."""

        own = _own(module)
        started = time.perf_counter()
        val = self._losses(self._validated, own, batch_size)
        train = self._losses(self._read_again, own, batch_size)
        seconds = time.perf_counter() - started
        metrics = {
            **val.metrics("val"),
            "val/late_loss": val.late,
            **train.metrics("train_crop"),
            "throughput/inference_tokens_per_s": self._evaluated_tokens / seconds,
        }
        if isinstance(module, RememberingModule):
            metrics |= self._compare(module, val.loss, batch_size)
        return metrics

    def evaluate_finally(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """What is remembered: the loss with other memories in the place of its own, and answers to questions."""
        metrics: dict[str, float] = {}
        if isinstance(module, RememberingModule):
            metrics |= self._control(module, batch_size)
        if self.configuration.asked:
            metrics |= self._ask(module, batch_size)
        return metrics

    @property
    def _evaluated_tokens(self) -> int:
        return sum(len(crops) * crops.length for crops in (self._validated, self._read_again))

    def _training_crops(self) -> Crops:
        configuration, targets = self.configuration, self.data.targets("train")
        places = training_places(targets, configuration.train_length, configuration.train_crops, configuration.seed)
        return Crops(self.data, "train", places, configuration.train_length, self.device)

    def _evaluated_crops(self, split: Split, length: int) -> Crops:
        count, seed = self.configuration.eval_crops, self.configuration.seed
        places = evaluation_places(split, self.data.targets(split), length, count, seed)
        return Crops(self.data, split, places, length, self.device)

    def _losses(self, crops: Crops, log_probabilities: LogProbabilities, batch_size: int) -> SegmentLosses:
        return segment_losses(crops.batches(batch_size), log_probabilities, self.configuration.segment_tokens)

    def _compare(self, module: RememberingModule, loss: float, batch_size: int) -> dict[str, float]:
        full = module.full_attention_target_log_probabilities
        val = self._losses(self._validated, full, batch_size)
        train = self._losses(self._read_again, full, batch_size)
        return {
            "val/full_attention_loss": val.loss,
            "val/full_attention_perplexity": val.perplexity,
            "val/full_attention_ratio": perplexity(loss - val.loss, 1),
            "train_crop/full_attention_loss": train.loss,
            "train_crop/full_attention_perplexity": train.perplexity,
        }

    def _control(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Each crop with the memory of the next one, in batches that make that so whatever their size."""
        own = self._losses(self._validated, _own(module), batch_size)
        cleared = self._losses(self._validated, _controlled(module, "cleared"), batch_size)
        of_the_next, pairs = _controlled(module, "exchanged"), self._validated.overlapping_batches(batch_size)
        exchanged = segment_losses(pairs, lambda batch: of_the_next(batch)[:-1], self.configuration.segment_tokens)
        return {
            "val/loss_memory_cleared": cleared.loss,
            "val/loss_memory_exchanged": exchanged.loss,
            "val/memory_gain": exchanged.loss - own.loss,
        }

    def _ask(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        questions = Questions.read(self.folder)
        ways: dict[str, LogProbabilities] = {"recall/accuracy": _own(module)}
        if isinstance(module, RememberingModule):
            ways["recall/accuracy_memory_cleared"] = _controlled(module, "cleared")
            ways["recall/accuracy_full_attention"] = module.full_attention_target_log_probabilities
        return {name: questions.accuracy(way, batch_size, self.device) for name, way in ways.items()}


def _own(module: nn.Module) -> LogProbabilities:
    return lambda batch: target_log_probabilities(module, batch)


def _controlled(module: Any, control: MemoryControl) -> LogProbabilities:
    return lambda batch: module.controlled_target_log_probabilities(batch, control)


def _questions(configuration: SegmentLmConfiguration) -> Questions:
    tokenizer = tokenizer_of(configuration)
    return make_questions(
        told_pages(configuration, tokenizer),
        tokenizer,
        length=configuration.val_length,
        count=configuration.asked,
        candidates=configuration.question_candidates,
        seed=configuration.seed,
    )
