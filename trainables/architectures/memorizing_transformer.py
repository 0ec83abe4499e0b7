"""A transformer one layer of which reads from a memory of the keys and values before its segment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from trainables.architecture import register_architecture
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.language import TokenBatch, head_log_probabilities
from trainables.layers.memorizing_attention import MemorizingSelfAttention
from trainables.layers.residual import Residual
from trainables.layers.segment_model import SegmentModel, SegmentSelfAttention, segment_activations
from trainables.layers.token_model import initialise
from trainables.sequence_length import sequence_length
from trainables.task import TokenModule


def _is_null(value: Any) -> Any:
    """Whether an optional number, or each of a column, is null."""
    return value == np.array(None)


@dataclass(frozen=True, kw_only=True)
class MemorizingTransformerConfiguration(GptConfiguration):
    """Those of ``gpt``, and the memory of one layer."""

    memory_layer: int | None = hyperparameter(
        None, "block, counted from 0, whose attention has the memory; null: 3 * n_layers // 4", minimum=0
    )
    memory_size: int = hyperparameter(512, "tokens that the memory holds, the last before the segment", minimum=1)
    n_neighbors: int = hyperparameter(32, "stored tokens that each head reads for a token", minimum=1)
    gate_init: float = hyperparameter(0.0, "initial logit of the share that each head gives to the memory")
    segment_len: int | None = hyperparameter(
        None,
        "tokens of a segment; null: task.input_seq_len where examples have several windows, else half a sequence",
        minimum=1,
    )
    xl_cache: int = hyperparameter(
        0, "tokens before the segment that local attention of every layer sees, without gradient", minimum=0
    )
    separate_memory_projections: bool = hyperparameter(False, "give the memory queries, keys and values of its own")
    qk_norm: bool = hyperparameter(True, "queries and keys of the memory have unit length, with a learned factor a head")
    scale_init: float = hyperparameter(10.0, "initial factor of products of unit length, with qk_norm", above=0.0)

    rules: ClassVar[tuple[Rule, ...]] = (
        *GptConfiguration.rules,
        Rule(lambda c: c.use_att, "the memory is part of an attention layer: set use_att: true"),
        Rule(
            lambda c: np.where(_is_null(c.memory_layer), 0, c.memory_layer) < c.n_layers,
            "memory_layer counts blocks from 0: keep it below n_layers, or set null for 3 * n_layers // 4",
        ),
    )


def _segment_len(model: Any, task: Any) -> Any:
    """An example of ``mqar`` is one window; only one of several segments has something behind it."""
    whole = hasattr(task, "segments")
    default = sequence_length(task) if whole else (sequence_length(task) + 1) // 2
    return np.asarray(np.where(_is_null(model.segment_len), default, model.segment_len), dtype=np.int64)


@register_architecture("memorizing_transformer", configuration=MemorizingTransformerConfiguration, kind="tokens")
class MemorizingTransformer(SegmentModel):
    """Attention in segments; one layer also reads the best of many stored keys and values, by a gate a head.

    Wu et al. 2022, 'Memorizing Transformers' (arXiv 2203.08913). A stretch of text is read in segments; the memory begins empty
    in every call and holds nothing of another document. The search is exact. What the memory adds is drawn last, so that all
    other weights begin as those of a ``gpt`` of the same seed.
    """

    reads_stretches: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = ("gate/mean", "gate/std")

    def __init__(self, model: MemorizingTransformerConfiguration, task: Any) -> None:
        super().__init__(model, task, int(_segment_len(model, task)), model.xl_cache)
        layer = 3 * model.n_layers // 4 if model.memory_layer is None else model.memory_layer
        attention = cast(Residual, self.blocks[layer].get_submodule("att"))
        memorizing = MemorizingSelfAttention(
            cast(SegmentSelfAttention, attention.branch),
            model,
            memory_size=model.memory_size,
            n_neighbors=model.n_neighbors,
            gate_init=model.gate_init,
            scale=model.scale_init if model.qk_norm else None,
            separate=model.separate_memory_projections,
        )
        if memorizing.own is not None:
            initialise(memorizing.own, model.init_std)
        attention.branch = memorizing
        self._external_elements = int(self.count(model, task).external)

    def external_elements(self) -> int:
        """The memory of one row when it is full; caches, as the keys and values of ``gpt``, are activations."""
        return self._external_elements

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S) log-probabilities (nats) of the targets; ``batch.documents`` decides what memory and caches show."""
        return head_log_probabilities(cast(TokenModule, self), self.hidden_states(batch.ids, batch.documents), batch.targets)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        without = Gpt.count(model, task)
        gated = model.q_gated * model.dk + model.k_gated * model.dk
        own = model.dim * model.n_heads * (2 * model.dk + model.dv + gated)
        added = model.n_heads + model.qk_norm * model.n_heads + model.separate_memory_projections * own
        return replace(without, block=without.block + added, external=_memory_elements(model))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As of ``gpt``, and the segments joined in each layer; of the memory its operands and, where it has something to show,
        weights, indices and what is read; of caches their keys and values for each segment and what documents let be seen."""
        reading, length, documents = _reading_tokens(model, task), _segment_len(model, task), hasattr(task, "segments")
        segments = segment_activations(model, task, reading, length, model.xl_cache, documents=documents)
        return Gpt.activation_elements(model, task) + _memory_activations(model, task) + segments

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements kept to continue one sequence: keys and values of segment and cache in each layer, and the memory."""
        seen = _segment_len(model, task) + model.xl_cache
        return model.n_layers * seen * model.n_heads * (model.dk + model.dv) + _memory_elements(model)


def _memory_elements(model: Any) -> Any:
    return model.memory_size * model.n_heads * (model.dk + model.dv)


def _reading_tokens(model: Any, task: Any) -> Any:
    """Tokens of a window that have something behind their segment; of stretches all, as most segments are not the first."""
    return np.maximum(0, sequence_length(task) - (1 - hasattr(task, "segments")) * _segment_len(model, task))


def _memory_activations(model: Any, task: Any) -> Any:
    reading, whole = _reading_tokens(model, task), hasattr(task, "segments")
    slots = np.where(whole, model.memory_size, np.minimum(model.memory_size, np.maximum(1, reading)))
    per_token = 2 * (1 + model.qk_norm) * model.dk + 2 * model.qk_norm + model.dv
    per_token = per_token + model.separate_memory_projections * (model.dk + model.dv)
    per_reading = 2 * np.minimum(model.n_neighbors, slots) + model.dv + 3
    return model.n_heads * (per_token * sequence_length(task) + per_reading * reading)
