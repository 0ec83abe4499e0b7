"""Causal softmax attention with a product-key memory as the feed-forward layer of some blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from typing import Any, ClassVar

from trainables.architecture import register_architecture
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.feed_forward import feed_forward_parameters
from trainables.layers.product_keys.memory import (
    ProductKeyMemory,
    QueryNorm,
    product_key_activations,
    product_key_buffers,
    product_key_parameters,
)
from trainables.layers.residual import Residual
from trainables.sequence_length import sequence_length


@dataclass(frozen=True, kw_only=True)
class PkmConfiguration(GptConfiguration):
    """Defaults follow Lample et al. 2019, but for the size (512 sub-keys there) and the norm (batch there)."""

    memory_layers: list[int] | None = hyperparameter(
        None, "blocks, counted from 0, whose feed-forward layer is a memory; null: the middle one, n_layers // 2", minimum=0
    )
    n_subkeys: int = hyperparameter(128, "sub-keys of each half of a query: a memory has n_subkeys ** 2 slots", minimum=1)
    n_neighbors: int = hyperparameter(32, "slots that each head reads for a token", minimum=1)
    memory_heads: int = hyperparameter(4, "heads of a memory, each with queries and sub-keys of its own", minimum=1)
    query_dim: int = hyperparameter(128, "width of one head's query of a memory; each half has sub-keys of its own", minimum=2)
    query_norm: QueryNorm = hyperparameter(
        "layer", "normalisation of memory queries: layer (each head's), batch (over tokens; not causal in training) or none"
    )
    value_lr: float | None = hyperparameter(
        1e-3, "constant learning rate of the memory's values, without weight decay; null trains them like the rest", above=0.0
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *GptConfiguration.rules,
        Rule(lambda c: c.query_dim % 2 == 0, "a query has two halves of one width: make query_dim even"),
        Rule(
            lambda c: c.n_neighbors <= c.n_subkeys**2,
            "a memory has n_subkeys ** 2 slots: make n_neighbors at most that, or n_subkeys larger",
        ),
        Rule(
            lambda c: c.memory_layers is None or len(c.memory_layers) > 0,
            "without a memory this is gpt: give memory_layers at least one block, or null for the middle one",
        ),
        Rule(
            lambda c: prod(block < c.n_layers for block in c.memory_layers or ()) == 1,
            "memory_layers counts blocks from 0: keep each number below n_layers, or set null for the middle one",
        ),
        Rule(
            lambda c: prod(one != other for one, other in combinations(c.memory_layers or (), 2)) == 1,
            "a block has one memory: name each block of memory_layers once",
        ),
    )


def _make_memory(model: PkmConfiguration) -> ProductKeyMemory:
    return ProductKeyMemory(
        model.dim,
        n_subkeys=model.n_subkeys,
        n_neighbors=model.n_neighbors,
        heads=model.memory_heads,
        query_dim=model.query_dim,
        query_norm=model.query_norm,
        init_std=model.init_std,
        value_lr=model.value_lr,
    )


def _memories(model: Any) -> int:
    """How many blocks have a memory."""
    return 1 if model.memory_layers is None else len(model.memory_layers)


@register_architecture("pkm", configuration=PkmConfiguration, kind="tokens")
class Pkm(Gpt):
    """Causal softmax attention, and product-key memories in place of some feed-forward layers.

    Memories are drawn last, so that all other weights begin as those of a ``gpt`` of the same seed.
    """

    measured: ClassVar[tuple[str, ...]] = ("slots/usage", "slots/kl")

    def __init__(self, model: PkmConfiguration, task: Any) -> None:
        super().__init__(model, task)
        layers = [model.n_layers // 2] if model.memory_layers is None else model.memory_layers
        for layer in layers:
            self.blocks[layer].add_module("ffn", Residual(model.dim, _make_memory(model), multiply=model.residual_mul))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        without = Gpt.count(model, task)
        replaced = model.use_ffn * (model.dim + feed_forward_parameters(model.dim, model.ffn_expand_factor))
        memories = _memories(model) * (model.dim + product_key_parameters(model) - replaced)
        return replace(without, block=without.block + memories, buffers=_memories(model) * product_key_buffers(model))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As of ``gpt``, with each memory's branch in place of that of the feed-forward layer."""
        branch = 3 * model.dim + 1 + model.residual_mul * model.dim
        replaced = model.use_ffn * (branch + 2 * model.ffn_expand_factor * model.dim)
        memory = branch + product_key_activations(model) - replaced
        return Gpt.activation_elements(model, task) + sequence_length(task) * _memories(model) * memory
