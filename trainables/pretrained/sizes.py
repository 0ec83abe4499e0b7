"""The sizes of a pretrained model, without building it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.pretrained.config import causal_configuration

_MOST_LAYERS = 1_000
_GATED = ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "phi3", "olmo", "olmo2")


@dataclass(frozen=True, slots=True)
class ModelSizes:
    vocabulary: int
    """Rows of the table of tokens, with its padding."""
    width: int
    """Of the residual stream."""
    layers: int
    positions: int | None
    """The longest window; None where the model names none."""
    heads: int
    """Of the queries."""
    key_heads: int
    """Of keys and values."""
    head_width: int
    inner: int
    """Width inside a feed-forward layer."""
    gated: bool
    """Whether a feed-forward layer has three matrices, as in Llama, instead of two."""


def model_sizes(config: Mapping[str, Any]) -> ModelSizes:
    """What a ``config.json`` says of them, read once a configuration.

    Raises:
        ValueError: it describes no causal language model, or one without layers.
    """
    return _sizes(json.dumps(dict(config), sort_keys=True))


@functools.lru_cache(maxsize=64)
def _sizes(config: str) -> ModelSizes:
    configuration = causal_configuration(json.loads(config))
    layers, positions = int(configuration.num_hidden_layers), getattr(configuration, "max_position_embeddings", None)
    if not 1 <= layers <= _MOST_LAYERS:
        what = f"a {configuration.model_type} with {layers:,} layers"
        raise ValueError(f"{what} cannot be a base model: take one with 1 to {_MOST_LAYERS:,}")
    width, heads = int(configuration.hidden_size), int(getattr(configuration, "num_attention_heads", 1))
    key_heads = _number(configuration, ("num_key_value_heads",)) or heads
    if heads % key_heads:
        what = f"a {configuration.model_type} with {heads} num_attention_heads and {key_heads} num_key_value_heads"
        raise ValueError(f"{what} cannot work: the second must divide the first")
    return ModelSizes(
        vocabulary=int(configuration.vocab_size),
        width=width,
        layers=layers,
        positions=positions if isinstance(positions, int) else None,
        heads=heads,
        key_heads=key_heads,
        head_width=_number(configuration, ("head_dim",)) or max(1, width // heads),
        inner=_number(configuration, ("intermediate_size", "n_inner", "ffn_dim")) or 4 * width,
        gated=configuration.model_type in _GATED,
    )


def _number(configuration: Any, names: Sequence[str]) -> int | None:
    """The first of the values of these names that is a whole number."""
    found = (getattr(configuration, name, None) for name in names)
    return next((value for value in found if isinstance(value, int)), None)
