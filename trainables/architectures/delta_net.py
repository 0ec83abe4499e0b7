"""A fast-weight memory written by the delta rule, of a size that does not grow with the sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.architecture import register_architecture
from trainables.configuration import Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.delta_rule import DeltaRuleBackend, delta_rule
from trainables.layers.feature_maps import Kernel, Norm
from trainables.layers.head_mixing import (
    HeadMixingConfiguration,
    Position,
    feature_activations,
    gate_parameters,
    key_features,
    output_projection,
    query_features,
    value_features,
)
from trainables.layers.projection import HeadFeatures, HeadProjection
from trainables.layers.rms_norm import RMSNorm
from trainables.layers.token_model import TokenModel, count_token_model, token_model_activations
from trainables.sequence_length import sequence_length


@dataclass(frozen=True, kw_only=True)
class DeltaNetConfiguration(HeadMixingConfiguration):
    """Defaults follow flash-linear-attention's DeltaNet; keys that are not normalised can make the memory diverge."""

    dk: int = hyperparameter(48, "width of one head's queries and keys: rows of its memory", minimum=1)
    dv: int = hyperparameter(48, "width of one head's values: columns of its memory", minimum=1)
    q_kernel: Kernel = hyperparameter("silu", "feature map of the queries")
    k_kernel: Kernel = hyperparameter("silu", "feature map of the keys")
    v_kernel: Kernel = hyperparameter("silu", "feature map of the values")
    q_norm: Norm = hyperparameter("l2", "normalisation of each query, after its kernel and gate")
    k_norm: Norm = hyperparameter("l2", "normalisation of each key; longer keys than l2 gives can make the memory diverge")
    pos: Position = hyperparameter("none", "position information: rotary (no parameters) or none")
    use_short_conv: bool = hyperparameter(True, "short causal convolution of queries, keys and values")
    conv_width: int = hyperparameter(4, "taps of the short convolution", minimum=1)
    use_output_norm: bool = hyperparameter(True, "RMSNorm of each head's output, with gains shared by the heads")
    lr_temp: float = hyperparameter(1.0, "temperature of the write strength, beta_cap * sigmoid(logit / lr_temp)", above=0.0)
    beta_cap: float = hyperparameter(1.0, "upper bound of the write strength", above=0.0, maximum=1.0)
    allow_neg_eigval: bool = hyperparameter(False, "double the write strength, so that a write may flip what a key reads")
    chunk_size: int = hyperparameter(16, "tokens a chunk of the chunked delta rule: speed only", minimum=1)
    delta_rule_backend: DeltaRuleBackend = hyperparameter("chunked", "implementation of the delta rule: speed only")

    rules: ClassVar[tuple[Rule, ...]] = (
        *HeadMixingConfiguration.rules,
        Rule(lambda c: (c.pos != "rope") | (c.dk % 2 == 0), "rotary positions turn pairs: make dk even, or set pos: none"),
    )


class DeltaMemory(nn.Module):
    """Per head a memory dk x dv that each token corrects towards its value at its key, then reads at its query.

    Yang et al. 2024, 'Parallelizing Linear Transformers with the Delta Rule over Sequence Length'.
    """

    def __init__(self, model: DeltaNetConfiguration) -> None:
        super().__init__()
        self.proj_q = _projection(model, model.dk, query_features(model, model.dk))
        self.proj_k = _projection(model, model.dk, key_features(model, model.dk))
        self.proj_v = _projection(model, model.dv, value_features(model, model.dv))
        self.proj_beta = nn.Linear(model.dim, model.n_heads, bias=False)
        self.output_norm = RMSNorm(model.dv, eps=1e-5) if model.use_output_norm else nn.Identity()
        self.out_proj = output_projection(model, model.dv)
        self.chunk_size, self.backend = model.chunk_size, model.delta_rule_backend
        self.temperature = model.lr_temp
        self.beta_limit = model.beta_cap * (2.0 if model.allow_neg_eigval else 1.0)

    def write_strength(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, H, T), each within (0, beta_limit)."""
        return self.beta_limit * torch.sigmoid(self.proj_beta(x).mT / self.temperature)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        query, key, value = self.proj_q(x), self.proj_k(x), self.proj_v(x)
        beta = self.write_strength(x)
        read, _ = delta_rule(query, key, value, beta, chunk_size=self.chunk_size, backend=self.backend)
        output: Tensor = self.out_proj(x, self.output_norm(read))
        return output


def _projection(model: DeltaNetConfiguration, width: int, features: HeadFeatures) -> HeadProjection:
    conv_width = model.conv_width if model.use_short_conv else 0
    return HeadProjection(model.dim, model.n_heads, width, features, conv_width=conv_width)


@register_architecture("delta_net", configuration=DeltaNetConfiguration, kind="tokens")
class DeltaNet(TokenModel):
    """Fast-weight memory written by the delta rule; its size does not depend on the sequence length."""

    def __init__(self, model: DeltaNetConfiguration, task: Any) -> None:
        super().__init__(model, task, lambda: DeltaMemory(model))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        projections = 2 * model.dim * model.n_heads * (model.dk + model.dv) + model.dim * model.n_heads
        convolutions = model.use_short_conv * model.conv_width * model.n_heads * (2 * model.dk + model.dv)
        mixer = projections + convolutions + model.use_output_norm * model.dv + gate_parameters(model, model.dk, model.dv)
        return count_token_model(model, task, mixer)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Of the chunked form: its operands, pseudo-keys, writes and outputs, five C x C matrices a chunk and the memory at each
        chunk's start; a chunk is at most the sequence. The recurrent form keeps the memory at each token instead."""
        operands = 3 * model.dk + 3 * model.dv
        size = (model.chunk_size + sequence_length(task) - abs(model.chunk_size - sequence_length(task))) / 2
        chunked = operands + model.dk + 5 * size + model.dk * model.dv / size
        recurrent = operands + model.dk * model.dv
        is_chunked = (model.delta_rule_backend == "chunked") * 1
        rule = model.n_heads * (is_chunked * chunked + (1 - is_chunked) * recurrent)
        convolutions = model.use_short_conv * model.n_heads * (2 * model.dk + model.dv)
        norm = model.use_output_norm * model.n_heads * (2 * model.dv + 1)
        mixer = rule + convolutions + norm + feature_activations(model, model.dk, model.dv)
        return token_model_activations(model, task, mixer)

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements kept to continue one sequence: the memories and the inputs that the short convolutions still need."""
        memory = model.dk * model.dv
        recent = model.use_short_conv * (model.conv_width - 1) * (2 * model.dk + model.dv)
        return model.use_att * model.n_layers * model.n_heads * (memory + recent)
