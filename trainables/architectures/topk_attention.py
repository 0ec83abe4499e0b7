"""Causal softmax attention that reads a few keys a query, and a feed-forward layer that does the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from trainables.architecture import register_architecture
from trainables.architectures.gpt import CausalSelfAttention, Gpt, GptConfiguration
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.causal_attention import causal_attention
from trainables.layers.feed_forward import FeedForward
from trainables.layers.residual import Residual
from trainables.layers.token_model import TokenModel
from trainables.layers.topk_attention import topk_attention
from trainables.layers.topk_feed_forward import TopkFeedForward
from trainables.sequence_length import sequence_length


def _is_null(value: Any) -> Any:
    """Whether an optional number, or each of a column, is null."""
    return value == np.array(None)


@dataclass(frozen=True, kw_only=True)
class TopkAttentionConfiguration(GptConfiguration):
    """Those of ``gpt``, and how many keys are read."""

    n_neighbors: int = hyperparameter(64, "keys that a query reads, those with the largest products; T or more: all", minimum=1)
    query_chunk: int = hyperparameter(1024, "queries whose products exist at the same time: speed and memory only", minimum=1)
    ffn_n_neighbors: int | None = hyperparameter(
        None, "hidden units of the feed-forward layer that a token reads, those with the largest inputs; null: all", minimum=1
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *GptConfiguration.rules,
        Rule(
            lambda c: c.use_ffn | _is_null(c.ffn_n_neighbors),
            "ffn_n_neighbors needs a feed-forward layer: set use_ffn: true, or ffn_n_neighbors: null",
        ),
    )


class TopkSelfAttention(CausalSelfAttention):
    """The attention of ``gpt`` over the ``n_neighbors`` largest products of each query; the parameters are the same."""

    def __init__(self, model: TopkAttentionConfiguration) -> None:
        super().__init__(model)
        self.n_neighbors, self.query_chunk = model.n_neighbors, model.query_chunk

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        query, key, value = self.proj_q(x), self.proj_k(x), self.proj_v(x)
        if self.n_neighbors < x.shape[1]:
            mixed = topk_attention(query, key, value, self.n_neighbors, self.query_chunk)
        else:
            # The same function; the fused kernel keeps no weights at all.
            mixed = causal_attention(query, key, value)
        output: Tensor = self.out_proj(x, mixed)
        return output


@register_architecture("topk_attention", configuration=TopkAttentionConfiguration, kind="tokens")
class TopkAttention(TokenModel):
    """Causal attention that reads only the keys with the largest products; as many parameters as gpt.

    Gupta et al. 2021, 'Memory-efficient Transformers via Top-k Attention' (arXiv 2106.06899).
    """

    def __init__(self, model: TopkAttentionConfiguration, task: Any) -> None:
        super().__init__(model, task, lambda: TopkSelfAttention(model))
        if model.ffn_n_neighbors is None or model.ffn_n_neighbors >= model.ffn_expand_factor * model.dim:
            return
        for part in self.modules():
            if isinstance(part, Residual) and isinstance(part.branch, FeedForward):
                part.branch = TopkFeedForward(part.branch, model.ffn_n_neighbors, model.query_chunk)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        return Gpt.count(model, task)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As ``gpt``, but of attention a weight and an index a key read, instead of a number a row, and of a feed-forward layer
        the inputs, outputs and indices of the hidden units read, instead of both sides of all."""
        keys = (model.n_neighbors < sequence_length(task)) * model.n_heads * (2 * model.n_neighbors - 1)
        width = model.ffn_expand_factor * model.dim
        units = np.asarray(np.where(_is_null(model.ffn_n_neighbors), width, model.ffn_n_neighbors), dtype=np.int64)
        hidden = (units < width) * (3 * units - 2 * width)
        differing = model.n_layers * (model.use_att * keys + model.use_ffn * hidden)
        return Gpt.activation_elements(model, task) + sequence_length(task) * differing

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements cached to continue one sequence: as ``gpt``, since any key may be among the largest of a later query."""
        return Gpt.state_elements(model, task)
