"""A ``gpt`` whose output softmax is over the vocabulary and a memory of its own representations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from trainables.architecture import register_architecture
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.language import CorpusReader, TokenBatch
from trainables.retrieval.mixing import interpolate
from trainables.retrieval.trime.bm25 import bm25_stage, read_nearest, walk
from trainables.retrieval.trime.datastore import OwnDatastore
from trainables.retrieval.trime.masses import Masses, joint_log_probabilities, memory_masses, memory_share, vocabulary_masses
from trainables.retrieval.trime.readable import Readable, earlier, in_batch
from trainables.retrieval.trime.share import MemoryShare
from trainables.retrieval.trime.windows import Windows
from trainables.sequence_length import sequence_length
from trainables.stages import Stage

_TOKENS_AT_ONCE = 4096
"""Of a forward pass over the training text."""


@dataclass(frozen=True, kw_only=True)
class TrimeConfiguration(GptConfiguration):
    """Those of ``gpt``, and what the memory holds in training and in evaluation; defaults follow Zhong et al. 2022."""

    use_ffn: bool = hyperparameter(True, "give each block a feed-forward layer; what enters the last one is what memories hold")
    variant: Literal["local", "long", "ext"] = hyperparameter(
        "long",
        "memory: local (earlier in the window), long (earlier in the text) or ext (other windows of the batch, a datastore)",
    )
    warm_up: float = hyperparameter(0.05, "part of the training at its beginning that goes without memory", minimum=0, maximum=1)
    memory_size: int = hyperparameter(
        2048, "tokens back that memories reach in evaluation (local and ext: a window at most)", minimum=0
    )
    softmax_temperature: float = hyperparameter(1.0, "divides the memory's logits in evaluation; 1 as in training", above=0.0)
    own_memory_off: float = hyperparameter(
        0.9, "ext: probability that a training batch goes without the memory of its own windows", minimum=0, maximum=1
    )
    batching: Literal["bm25", "random"] = hyperparameter("bm25", "ext: training batches of similar examples, or random ones")
    n_neighbors: int = hyperparameter(1024, "ext: entries of the datastore that a query reads in evaluation", minimum=1)
    knn_weight: float = hyperparameter(0.3, "ext: share of the datastore in evaluation; 0: without one", minimum=0, maximum=1)
    knn_temperature: float = hyperparameter(
        10.5, "ext: divides inner products with entries of the datastore, which grow with dim", above=0.0
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *GptConfiguration.rules,
        Rule(lambda c: c.use_ffn, "memories hold what enters the last feed-forward layer: set use_ffn: true"),
    )


def _has_datastore(model: Any) -> Any:
    return (model.variant == "ext") & (model.knn_weight > 0)


@register_architecture(
    "trime",
    configuration=TrimeConfiguration,
    kind="tokens",
    pair_rules=(
        Rule(
            lambda model, task: (model.variant != "ext") | (model.knn_weight <= 0) | (model.n_neighbors <= task.train_tokens),
            "the datastore has an entry for each of task.train_tokens: make n_neighbors at most that",
        ),
    ),
)
class Trime(Gpt):
    """A gpt trained with a memory of its own representations in the output softmax.

    Zhong et al. 2022, 'Training Language Models with Memory Augmentation' (arXiv 2205.12674). What enters the last
    feed-forward layer, behind its norm, is held with the token that followed; no parameters beyond those of ``gpt``.
    """

    tasks: ClassVar[tuple[str, ...]] = ("language_modeling",)
    reads_stretches: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = ("gate/mean", "gate/std", "datastore/mib")

    def __init__(self, model: TrimeConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.model = model
        self.window = sequence_length(task)
        self.entries = task.train_tokens
        self.batching = "bm25" if model.variant == "ext" and model.batching == "bm25" else None
        self.share = MemoryShare()
        self._progress = 1.0
        self._nearest: Any = None
        self._datastore: OwnDatastore | None = None

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Opens the stage ``bm25`` where batches are made by it.

        Raises:
            ValueError: the stage's file is damaged.
        """
        if self.batching == "bm25":
            self._nearest = read_nearest(folders["bm25"])

    def order_examples(self, order: Tensor, batch_size: int) -> Tensor:
        """The training examples (n,) such that consecutive ones, whatever the size of a batch, are similar.

        Raises:
            RuntimeError: :meth:`attach` was not called.
            ValueError: there are more or fewer examples than the stage has seen.
        """
        if self._nearest is None:
            raise RuntimeError("similar examples come from the stage bm25: call attach first")
        return walk(order, self._nearest)

    def training_progress(self, fraction: float) -> None:
        """Which part of all training is done, in [0, 1); decides the warm-up."""
        self._progress = fraction

    def training_loss(self, batch: TokenBatch) -> Tensor:
        """The mean negative log-probability (nats) of the scored targets of (B, S), with the memory of the variant."""
        self._datastore = None
        windows = Windows.of(batch, self.window)
        states, keys = self._encode(windows.ids)
        vocabulary = vocabulary_masses(self.output_head, states, windows.targets)
        if self._progress < self.model.warm_up:
            found = vocabulary.right - vocabulary.every
        else:
            found = joint_log_probabilities(vocabulary, self._training_memory(windows, keys))
        return -(windows.restored(found) * batch.scored).sum() / batch.scored.sum()

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S) log-probabilities (nats) of the targets.

        Raises:
            RuntimeError: the datastore is missing, as :meth:`before_evaluation` was not called.
        """
        windows = Windows.of(batch, self.window)
        states, keys = self._encode(windows.ids)
        vocabulary = vocabulary_masses(self.output_head, states, windows.targets)
        memory = self._earlier_memory(windows, keys, self.model.memory_size, self.model.softmax_temperature)
        if self.share.observing:
            self.share.note(windows.restored(memory_share(vocabulary, memory)), batch.scored)
        found = joint_log_probabilities(vocabulary, memory)
        if _has_datastore(self.model):
            found = interpolate(found, self._datastore_probability(windows, keys, batch.split), self.model.knn_weight)
        return windows.restored(found)

    def before_evaluation(self, data: CorpusReader) -> None:
        """Fills the datastore with the training text as the module sees it now."""
        if _has_datastore(self.model):
            batches = data.evaluation_batches("train", max(1, _TOKENS_AT_ONCE // self.window), windows=True)
            self._datastore = OwnDatastore.of(batches, self.entries, lambda ids: self._encode(ids)[1])

    def final_metrics(self) -> dict[str, float]:
        """The size of the datastore, where there is one."""
        return {} if self._datastore is None else {"datastore/mib": self._datastore.mib()}

    def external_elements(self) -> int:
        """Representations and tokens: of the memory where it is full, or of the datastore."""
        held = {"local": min(self.model.memory_size, self.window), "long": self.model.memory_size, "ext": self.entries}
        used = self.model.variant != "ext" or _has_datastore(self.model)
        return int(used * held[self.model.variant] * (self.model.dim + 1))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        local = (model.variant == "local") * np.minimum(model.memory_size, sequence_length(task))
        long = (model.variant == "long") * model.memory_size
        entries = local + long + _has_datastore(model) * task.train_tokens
        return replace(Gpt.count(model, task), external=entries * (model.dim + 1))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As of ``gpt``, and a few numbers a token: the memory's logits exist in blocks, and none of them is kept."""
        return Gpt.activation_elements(model, task) + 6 * sequence_length(task)

    @staticmethod
    def stages(model: TrimeConfiguration, task_type: Any, task: Any) -> Sequence[Stage]:
        return (bm25_stage(task_type, task),) if model.variant == "ext" and model.batching == "bm25" else ()

    def _encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (W, T) to the states that the output head reads and what enters the last feed-forward layer, (W, T, dim)."""
        kept: list[Tensor] = []
        norm = self.blocks[-1].get_submodule("ffn.norm")
        handle = norm.register_forward_hook(lambda _norm, _given, output: kept.append(output))
        try:
            return self.hidden_states(ids), kept[0]
        finally:
            handle.remove()

    def _training_memory(self, windows: Windows, keys: Tensor) -> Masses:
        if self.model.variant != "ext":
            return self._earlier_memory(windows, keys)
        own_window = bool(torch.rand(()) >= self.model.own_memory_off)
        readable = in_batch(windows.documents, windows.positions, own_window=own_window)
        return _masses(windows, keys, _in_one_row, readable)

    def _earlier_memory(self, windows: Windows, keys: Tensor, reach: int | None = None, temperature: float = 1.0) -> Masses:
        rows = windows.in_rows if self.model.variant == "long" else _as_they_are
        return _masses(windows, keys, rows, earlier(rows(windows.documents), reach), temperature)

    def _datastore_probability(self, windows: Windows, keys: Tensor, split: str) -> Tensor:
        if self._datastore is None:
            raise RuntimeError("the datastore is made before each evaluation: call before_evaluation first")
        found = self._datastore.target_probability(
            keys.flatten(0, 1),
            windows.targets.flatten(),
            self.model.n_neighbors,
            self.model.knn_temperature,
            exclude=windows.positions.flatten() if split == "train" else None,
        )
        return found.view_as(windows.targets)


def _masses(
    windows: Windows, keys: Tensor, rows: Callable[[Tensor], Tensor], readable: Readable, temperature: float = 1.0
) -> Masses:
    """Masses (W, T) of a memory over the rows into which ``rows`` puts the windows' (W, T, …)."""
    found = memory_masses(rows(keys), rows(windows.targets), rows(windows.tokens), readable, temperature)
    return Masses(*(part.reshape(windows.targets.shape) for part in found))


def _as_they_are(values: Tensor) -> Tensor:
    return values


def _in_one_row(values: Tensor) -> Tensor:
    return values.flatten(0, 1).unsqueeze(0)
