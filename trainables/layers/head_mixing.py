"""What models that mix tokens head by head have in common: options of queries, keys, values and output, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trainables.configuration import hyperparameter
from trainables.layers.activations import Activation
from trainables.layers.feature_maps import Kernel, Norm
from trainables.layers.projection import HeadFeatures, OutputProjection
from trainables.layers.token_model import TokenModelConfiguration

Position = Literal["none", "rope"]


@dataclass(frozen=True, kw_only=True)
class HeadMixingConfiguration(TokenModelConfiguration):
    """Options common to ``gpt``, ``unified_kv`` and ``delta_net``; head widths are the architecture's own."""

    n_heads: int = hyperparameter(2, "number of heads", minimum=1)
    q_kernel: Kernel = hyperparameter("none", "feature map of the queries")
    k_kernel: Kernel = hyperparameter("none", "feature map of the keys")
    v_kernel: Kernel = hyperparameter("none", "feature map of the values")
    q_norm: Norm = hyperparameter("none", "normalisation of each query, after its kernel and gate")
    k_norm: Norm = hyperparameter("none", "normalisation of each key, after its kernel and gate")
    q_gated: bool = hyperparameter(False, "multiply the queries by a learned gate")
    k_gated: bool = hyperparameter(False, "multiply the keys by a learned gate")
    att_use_output_gate: bool = hyperparameter(False, "multiply the mixed heads by a learned gate before the output projection")
    att_output_gate_act: Activation = hyperparameter("silu", "activation of the output gate")
    pos: Position = hyperparameter("rope", "position information: rotary (no parameters) or none")
    rope_theta: float = hyperparameter(10000.0, "base of the rotary wavelengths", above=1.0)


def _rope_theta(model: HeadMixingConfiguration) -> float | None:
    return model.rope_theta if model.pos == "rope" else None


def query_features(model: HeadMixingConfiguration, width: int) -> HeadFeatures:
    return HeadFeatures(
        model.dim,
        model.n_heads,
        width,
        kernel=model.q_kernel,
        norm=model.q_norm,
        gated=model.q_gated,
        rope_theta=_rope_theta(model),
    )


def key_features(model: HeadMixingConfiguration, width: int) -> HeadFeatures:
    return HeadFeatures(
        model.dim,
        model.n_heads,
        width,
        kernel=model.k_kernel,
        norm=model.k_norm,
        gated=model.k_gated,
        rope_theta=_rope_theta(model),
    )


def value_features(model: HeadMixingConfiguration, width: int) -> HeadFeatures:
    return HeadFeatures(model.dim, model.n_heads, width, kernel=model.v_kernel)


def output_projection(model: HeadMixingConfiguration, width: int) -> OutputProjection:
    gate_act = model.att_output_gate_act if model.att_use_output_gate else None
    return OutputProjection(model.dim, model.n_heads, width, gate_act)


def gate_parameters(model: Any, key_width: Any, value_width: Any) -> Any:
    """Parameters of the query, key and output gates of one layer; fields may be NumPy arrays."""
    # Each flag multiplies by itself: the sum of two boolean arrays would be their union.
    widths = model.q_gated * key_width + model.k_gated * key_width + model.att_use_output_gate * value_width
    return model.dim * model.n_heads * widths


def feature_activations(model: Any, key_width: Any, value_width: Any) -> Any:
    """Elements per token of one layer kept for the backward pass by kernels, norms and gates; fields may be NumPy arrays.

    A kernel and a norm keep their input, a gate its own output and what it multiplies, an output gate also its argument.
    """
    query = (model.q_kernel != "none") * 1 + (model.q_norm != "none") * 1 + model.q_gated * 2
    key = (model.k_kernel != "none") * 1 + (model.k_norm != "none") * 1 + model.k_gated * 2
    value = (model.v_kernel != "none") * 1 + model.att_use_output_gate * 3
    return model.n_heads * ((query + key) * key_width + value * value_width)
