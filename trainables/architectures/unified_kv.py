"""Causal softmax attention whose keys and values are one and the same projection."""

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
class UnifiedKvConfiguration(HeadMixingConfiguration):
    du: int = hyperparameter(64, "width of one head's queries and of its unified keys and values", minimum=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        *HeadMixingConfiguration.rules,
        Rule(lambda c: (c.pos != "rope") | (c.du % 2 == 0), "rotary positions turn pairs: make du even, or set pos: none"),
    )


class UnifiedSelfAttention(nn.Module):
    """``softmax(q u^T / sqrt(du)) u`` per head.

    Key options and the rotary position act on the key copy of u alone, the value kernel on the value copy: a turned value
    would carry its position's phase into the output.
    """

    def __init__(self, model: UnifiedKvConfiguration) -> None:
        super().__init__()
        self.proj_q = HeadProjection(model.dim, model.n_heads, model.du, query_features(model, model.du))
        self.proj_kv = nn.Linear(model.dim, model.n_heads * model.du, bias=False)
        self.key_features = key_features(model, model.du)
        self.value_features = value_features(model, model.du)
        self.out_proj = output_projection(model, model.du)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        unified = self.proj_kv(x)
        mixed = causal_attention(self.proj_q(x), self.key_features(x, unified), self.value_features(x, unified))
        output: Tensor = self.out_proj(x, mixed)
        return output


@register_architecture("unified_kv", configuration=UnifiedKvConfiguration, kind="tokens")
class UnifiedKv(TokenModel):
    """Causal softmax attention with one projection as key and value; caches a third less than gpt at equal parameters."""

    def __init__(self, model: UnifiedKvConfiguration, task: Any) -> None:
        super().__init__(model, task, lambda: UnifiedSelfAttention(model))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        projections = 3 * model.dim * model.n_heads * model.du
        return count_token_model(model, task, projections + gate_parameters(model, model.du, model.du))

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """As for ``gpt``; keys are kept beside the values only where something makes them differ."""
        same = (model.pos != "rope") * (model.k_kernel == "none") * (model.k_norm == "none") * (1 - model.k_gated * 1)
        attention = model.n_heads * ((4 - same) * model.du + 1)
        return token_model_activations(model, task, attention + feature_activations(model, model.du, model.du))

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements cached to continue one sequence of ``task.input_seq_len`` tokens: its unified keys and values."""
        return model.use_att * model.n_layers * sequence_length(task) * model.n_heads * model.du
