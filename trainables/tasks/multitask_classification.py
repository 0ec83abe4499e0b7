"""The task ``multitask_classification``: six classification tasks as text, learned together, told by the label's words.

After "Tuning keys v.s. values" (arXiv 2402.12233). Datasets, prompts, packing, ranking, generation and scores are in
``trainables/tasks/_multitask``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.language import OwnLoss, TokenBatch, target_log_probabilities
from trainables.task import EpochTask, Mode, Target, metric_of_part, register_task
from trainables.tasks._multitask.configuration import MultitaskConfiguration
from trainables.tasks._multitask.data import encoded_data, read_tokenizer, write_data
from trainables.tasks._multitask.datasets import DATASETS
from trainables.tasks._multitask.generation import generate
from trainables.tasks._multitask.packing import read_packed
from trainables.tasks._multitask.ranking import Candidates, Ranking
from trainables.tasks._multitask.scores import accuracy, answer_in, interval, is_complete, macro_f1, majority, micro_f1
from trainables.tasks._multitask.validation import read_validation

_FINAL = ("val/acc_exact", "val/acc_prefix", "val/f1_micro", "val/f1_macro", "val/majority")


def _with_tasks(*names: str) -> dict[str, Mode]:
    """A metric that is better when larger, its mean over the tasks and that of each task."""
    return {metric: "max" for name in names for metric in (name, *(metric_of_part(name, task) for task in DATASETS))}


@register_task("multitask_classification")
class MultitaskClassificationTask(EpochTask):
    """Classification told in words: 20 Newsgroups, BoolQ, COPA, CB, RACE and QNLI, or six made tasks, learned together."""

    kind = "tokens"
    configuration_type = MultitaskConfiguration
    configuration: MultitaskConfiguration
    metrics: ClassVar = {"val/loss": "min", **_with_tasks("val/acc_rank")}
    final_metrics: ClassVar = {**_with_tasks(*_FINAL), "val/acc_rank_interval": "min", "val/unparsed": "min"}
    reported_metrics = ("val/acc_rank", "val/acc_rank_interval", "val/majority", "val/acc_prefix")
    part_metrics: ClassVar = {"task": "val/acc_rank"}
    baselines: ClassVar = {"val/acc_rank": "val/majority"}
    training_defaults: ClassVar = {
        "optimizer": "adamw",
        "lr": 2e-4,
        "batch_size": 32,
        "gradient_accumulation": 2,
        "eval_batch_size": 32,
        "clip_grad": 0.3,
        "weight_decay": 0.0,
        "epochs": 5,
    }

    def __init__(self, configuration: MultitaskConfiguration, folder: Path, device: torch.device) -> None:
        super().__init__(configuration, folder, device)
        self._packed = read_packed(folder, configuration.input_seq_len, device)
        self.validation = read_validation(folder)
        self._candidates = Candidates(self.validation)
        self._places = {name: self.validation.of(name) for name in self.validation.tasks}
        self._ranking: Ranking | None = None

    @classmethod
    def why_unmeasured(cls, metric: str, configuration: Any) -> str | None:
        part = metric.split("/")[1]
        if part not in DATASETS or part in configuration.tasks:
            return None
        return f"{part} is not among tasks: add it there, or name a metric of {', '.join(configuration.named_tasks)}"

    @classmethod
    def inspect(cls, configuration: Any) -> None:
        encoded_data(configuration)

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """All but the target; a tokeniser counts by its content."""
        identity = configuration.identity_values()
        identity["tasks"] = configuration.named_tasks
        del identity["target_acc_rank"]
        return dict(identity)

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Writes ``train_{tokens,documents}.npy``, ``val_{prompts,starts,tasks,labels}.npy``, all int32, and ``meta.json``."""
        write_data(configuration, folder)

    @property
    def examples_per_epoch(self) -> int:
        return len(self._packed)

    @property
    def tokens_per_example(self) -> int:
        return self._packed.length

    @property
    def tokens_per_evaluation(self) -> int:
        """Positions of every prompt with every label."""
        return self._candidates.tokens

    @property
    def target(self) -> Target | None:
        threshold = self.configuration.target_acc_rank
        return None if threshold is None else Target("val/acc_rank", threshold, "max")

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[TokenBatch]:
        """Packed examples (B, T), prompts and labels alike; texts that are packed together see each other."""
        self._ranking = None
        return self._packed.batches(order, batch_size)

    def loss(self, module: nn.Module, batch: TokenBatch) -> Tensor:
        """Mean nats of all tokens, those of prompts too, unless the module has a loss of its own."""
        if isinstance(module, OwnLoss):
            return module.training_loss(batch)
        found = target_log_probabilities(module, batch)
        return -torch.where(batch.scored, found, 0.0).sum() / batch.scored.sum()

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Mean nats of the tokens of true labels, and the share of rows whose label is the most probable one."""
        ranking = self._ranking = self._candidates.rank(module, batch_size, self.device)
        return {"val/loss": self._label_nats(ranking), **self._by_task("val/acc_rank", accuracy, ranking.predicted)}

    def evaluate_finally(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """F1 of the ranked labels, the majority class and the interval of ``val/acc_rank``; what generated answers are worth."""
        if self._ranking is None:
            self._ranking = self._candidates.rank(module, batch_size, self.device)
        ranked = self._ranking.predicted
        by_task = [accuracy(self._labels(name), self._at(name, ranked)) for name in self._places]
        return {
            **self._by_task("val/f1_micro", micro_f1, ranked),
            **self._by_task("val/f1_macro", macro_f1, ranked),
            **self._by_task("val/majority", lambda labels, _: majority(labels), ranked),
            "val/acc_rank_interval": interval(by_task, list(map(len, self._places.values()))),
            **self._generated(module, batch_size),
        }

    def _generated(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """``acc_exact``: the text behind the prompt is the label and nothing else; ``acc_prefix``: it begins with the label."""
        texts = self._answers(module, batch_size)
        rows = self.validation.rows
        named = [DATASETS[row.task].labels for row in rows]
        exact = [labels.index(text) if text in labels else None for text, labels in zip(texts, named, strict=True)]
        read = [answer_in(text, labels) for text, labels in zip(texts, named, strict=True)]
        return {
            **self._by_task("val/acc_exact", accuracy, exact),
            **self._by_task("val/acc_prefix", accuracy, read),
            "val/unparsed": read.count(None) / len(read),
        }

    def _answers(self, module: nn.Module, batch_size: int) -> list[str]:
        tokenizer = read_tokenizer(self.configuration, self.folder)
        decode = functools.cache(lambda tokens: tokenizer.decode(tokens))
        prompts = [row.prompt for row in self.validation.rows]
        limit = self.configuration.max_new_tokens
        found = generate(module, prompts, limit, lambda tokens: is_complete(decode(tuple(tokens))), batch_size, self.device)
        return [tokenizer.decode(tokens) for tokens in found]

    def _label_nats(self, ranking: Ranking) -> float:
        rows, labels = self.validation.rows, self.validation.labels
        nats = -sum(scores[row.label] for row, scores in zip(rows, ranking.scores, strict=True))
        return float(nats) / sum(len(labels[row.task][row.label]) for row in rows)

    def _labels(self, name: str) -> list[int]:
        return [self.validation.rows[place].label for place in self._places[name]]

    def _at(self, name: str, values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in self._places[name]]

    def _by_task(self, metric: str, score: Any, predicted: Sequence[int | None]) -> dict[str, float]:
        """The score of each task, and their unweighted mean under the name of the metric alone."""
        scores: Mapping[str, float] = {name: score(self._labels(name), self._at(name, predicted)) for name in self._places}
        mean = sum(scores.values()) / len(scores)
        return {metric: mean, **{metric_of_part(metric, name): value for name, value in scores.items()}}
