"""The task ``mqar``: multi-query associative recall (Arora et al. 2023, "Zoology", section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.task import EpochTask, Target, TokenModule, register_task
from trainables.tasks._mqar_generator import RecallLaw

_LOGITS_AT_ONCE = 2**22
"""Elements of the logits held during an evaluation, about what a training step holds: evaluating must not set the memory peak."""


@dataclass(frozen=True, kw_only=True)
class MqarConfiguration(Configuration):
    """An example shows P key-value pairs, then asks each key once; id 0 is a blank, keys are below V/2, values from V/2 on."""

    seed: int = hyperparameter(0, "seed of the data, from which the seeds of both splits are derived", minimum=0)
    vocab_size: int = hyperparameter(2048, "token ids V: a blank, V/2 - 1 keys, V/2 values", minimum=5)
    input_seq_len: int = hyperparameter(128, "positions T of an example", minimum=4)
    num_kv_pairs: int = hyperparameter(32, "key-value pairs P of an example, each asked once", minimum=1)
    power_a: float = hyperparameter(0.01, "exponent a of the query slots' power law: 1 is uniform, small asks early", above=0)
    random_non_queries: bool = hyperparameter(False, "fill blanks with random ids, which may collide with keys (harder)")
    train_examples: int = hyperparameter(40000, "training examples", minimum=1)
    val_examples: int = hyperparameter(3000, "validation examples", minimum=1)
    target_accuracy: float = hyperparameter(0.99, "validation accuracy that counts as solved", above=0, maximum=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            lambda task: task.input_seq_len % 2 == 0,
            "input_seq_len must be even, since queries stand on every second position: add one position or take one away",
        ),
        Rule(
            lambda task: 4 * task.num_kv_pairs <= task.input_seq_len,
            "4 * num_kv_pairs must be at most input_seq_len (two positions show a pair, two ask it): "
            "lower num_kv_pairs or raise input_seq_len",
        ),
        Rule(
            lambda task: task.vocab_size > task.input_seq_len,
            "vocab_size must be greater than input_seq_len: raise vocab_size or lower input_seq_len",
        ),
    )

    def law(self) -> RecallLaw:
        return RecallLaw(self.vocab_size, self.input_seq_len, self.num_kv_pairs, self.power_a, self.random_non_queries)


class RecallBatch(NamedTuple):
    """``inputs`` (B, T), ``asked`` (B*P,) indices into the B*T positions, ``answers`` (B*P,); all int64, on the task's device."""

    inputs: Tensor
    asked: Tensor
    answers: Tensor


@register_task("mqar")
class MqarTask(EpochTask):
    """Multi-query associative recall: say the value that was shown with each asked key."""

    kind = "tokens"
    configuration_type = MqarConfiguration
    configuration: MqarConfiguration
    metrics: ClassVar = {"val/loss": "min", "val/accuracy": "max"}
    training_defaults: ClassVar = {"weight_decay": 0.1, "clip_grad": 1.0, "lr_gamma": 0.95}

    def __init__(self, configuration: MqarConfiguration, folder: Path, device: torch.device) -> None:
        super().__init__(configuration, folder, device)
        self._train = _Split(folder, "train", device)
        self._validation = _Split(folder, "val", device)

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Writes ``{train,val}_{inputs,positions,answers}.npy``, int32 of shapes (n, T), (n, P), (n, P)."""
        train_seed, validation_seed = derived_seeds(configuration.seed)
        _write_split(configuration, folder, "train", configuration.train_examples, train_seed)
        _write_split(configuration, folder, "val", configuration.val_examples, validation_seed)

    @classmethod
    def epoch_tokens(cls, configuration: Any) -> int:
        return int(configuration.train_examples * configuration.input_seq_len)

    @property
    def examples_per_epoch(self) -> int:
        return self.configuration.train_examples

    @property
    def tokens_per_example(self) -> int:
        return self.configuration.input_seq_len

    @property
    def tokens_per_evaluation(self) -> int:
        return self.configuration.val_examples * self.configuration.input_seq_len

    @property
    def target(self) -> Target:
        return Target("val/accuracy", self.configuration.target_accuracy, "max")

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[RecallBatch]:
        return self._train.batches(batch_size, order)

    def loss(self, module: nn.Module, batch: RecallBatch) -> Tensor:
        logits = cast(TokenModule, module).output_head(_hidden_where_asked(module, batch))
        return functional.cross_entropy(logits, batch.answers)

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Mean cross entropy (nats) and accuracy over all asked positions; as all examples ask equally often, their mean too."""
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        head, rows = cast(TokenModule, module).output_head, max(1, _LOGITS_AT_ONCE // self.configuration.vocab_size)
        for batch in self._validation.batches(batch_size, torch.arange(self.configuration.val_examples)):
            hidden = _hidden_where_asked(module, batch)
            for part, answers in zip(torch.split(hidden, rows), torch.split(batch.answers, rows), strict=True):
                logits = head(part)
                loss += functional.cross_entropy(logits, answers, reduction="sum")
                correct += (logits.argmax(-1) == answers).sum()
        asked = self.configuration.val_examples * self.configuration.num_kv_pairs
        return {"val/loss": loss.item() / asked, "val/accuracy": correct.item() / asked}


def derived_seeds(seed: int) -> tuple[int, int]:
    """Different seeds of the training and validation data: from the lower and the upper half of 32 bits, as in Zoology."""
    generator = np.random.default_rng(seed)
    return int(generator.integers(0, 2**31)), int(generator.integers(2**31, 2**32))


def _hidden_where_asked(module: nn.Module, batch: RecallBatch) -> Tensor:
    """(B*P, D): the head is the dearest part of a small model, so it sees the asked positions alone."""
    hidden = cast(TokenModule, module).hidden_states(batch.inputs)
    return hidden.flatten(0, 1).index_select(0, batch.asked)


def _write_split(configuration: MqarConfiguration, folder: Path, name: str, count: int, seed: int) -> None:
    widths = {
        "inputs": configuration.input_seq_len,
        "positions": configuration.num_kv_pairs,
        "answers": configuration.num_kv_pairs,
    }
    files = {
        part: np.lib.format.open_memmap(folder / f"{name}_{part}.npy", mode="w+", dtype=np.int32, shape=(count, width))
        for part, width in widths.items()
    }
    start = 0
    for examples in configuration.law().generate(count, seed):
        end = start + len(examples.inputs)
        for part, file in files.items():
            file[start:end] = getattr(examples, part)
        start = end
    for file in files.values():
        file.flush()


class _Split:
    """One split: memory-mapped on the CPU; on another device a copy lies there, as int32 it is small beside any model."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self._device = device
        self._inputs, self._positions, self._answers = (
            _mapped(folder / f"{name}_{part}.npy").to(device) for part in ("inputs", "positions", "answers")
        )

    def batches(self, batch_size: int, order: Tensor) -> Iterator[RecallBatch]:
        length = self._inputs.shape[1]
        first_positions = torch.arange(0, batch_size * length, length, device=self._device).unsqueeze(1)
        for rows in torch.split(order.to(self._device), batch_size):
            asked = self._positions.index_select(0, rows) + first_positions[: len(rows)]
            answers = self._answers.index_select(0, rows).long()
            yield RecallBatch(self._inputs.index_select(0, rows).long(), asked.flatten(), answers.flatten())


def _mapped(path: Path) -> Tensor:
    # Copy-on-write rather than "r": torch warns about arrays that cannot be written. Nothing is written, so nothing is copied.
    return torch.from_numpy(np.load(path, mmap_mode="c"))
