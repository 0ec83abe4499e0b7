"""The sizes of a pretrained model, without building it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.pretrained.config import causal_configuration

_MOST_LAYERS = 1_000


@dataclass(frozen=True, slots=True)
class ModelSizes:
    vocabulary: int
    """Rows of the table of tokens, with its padding."""
    width: int
    """Of the residual stream."""
    layers: int
    positions: int | None
    """The longest window; None where the model names none."""


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
    return ModelSizes(
        vocabulary=int(configuration.vocab_size),
        width=int(configuration.hidden_size),
        layers=layers,
        positions=positions if isinstance(positions, int) else None,
    )
