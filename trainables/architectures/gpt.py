"""Causal softmax attention with separate keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.causal_attention import causal_attention
from trainables.layers.head_mixing import (
    HeadMixingConfiguration,
    feature_activations,
    gate_parameters,
    key_features,
    output_projection,
    query_features,
    value_features,
)
from trainables.layers.projection import HeadProjection
from trainables.layers.token_model import TokenModel, count_token_model, token_model_activations
from trainables.sequence_length import sequence_length


@dataclass(frozen=True, kw_only=True)
class GptConfiguration(HeadMixingConfiguration):
    dk: int = hyperparameter(48, "width of one head's queries and keys", minimum=1)
    dv: int = hyperparameter(48, "width of one head's values", minimum=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        *HeadMixingConfiguration.rules,
        Rule(lambda c: (c.pos != "rope") | (c.dk % 2 == 0), "rotary positions turn pairs: make dk even, or set pos: none"),
    )


class CausalSelfAttention(nn.Module):
    """``softmax(q k^T / sqrt(dk)) v`` per head; n_heads * dk need not equal dim."""

    def __init__(self, model: GptConfiguration) -> None:
        super().__init__()
        self.proj_q = HeadProjection(model.dim, model.n_heads, model.dk, query_features(model, model.dk))
        self.proj_k = HeadProjection(model.dim, model.n_heads, model.dk, key_features(model, model.dk))
        self.proj_v = HeadProjection(model.dim, model.n_heads, model.dv, value_features(model, model.dv))
        self.out_proj = output_projection(model, model.dv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        output: Tensor = self.out_proj(x, causal_attention(self.proj_q(x), self.proj_k(x), self.proj_v(x)))
        return output


@register_architecture("gpt", configuration=GptConfiguration, kind="tokens")
class Gpt(TokenModel):
    """Causal softmax attention; its memory is the cache of all past keys and values."""

    def __init__(self, model: GptConfiguration, task: Any) -> None:
        super().__init__(model, task, lambda: CausalSelfAttention(model))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        projections = 2 * model.dim * model.n_heads * (model.dk + model.dv)
        return count_token_model(model, task, projections + gate_parameters(model, model.dk, model.dv))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Assumes the fused attention kernel: it keeps queries, keys, values, output and a number a row, no T x T weights."""
        attention = model.n_heads * (2 * model.dk + 2 * model.dv + 1)
        return token_model_activations(model, task, attention + feature_activations(model, model.dk, model.dv))

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements cached to continue one sequence of ``task.input_seq_len`` tokens: its keys and values."""
        return model.use_att * model.n_layers * sequence_length(task) * model.n_heads * (model.dk + model.dv)
