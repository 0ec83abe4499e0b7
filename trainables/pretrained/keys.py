"""Where the keys of a datastore are taken in a pretrained model: at the feed-forward layer of its last block."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.sizes import model_sizes

Side = Literal["input", "output"]

_SIDES: dict[str, Side] = {"last_ffn_input": "input", "last_ffn_output": "output"}
_WHOLE = ("mlp", "feed_forward", "ffn", "block_sparse_moe")
_HALVES = ("fc1", "fc2")


def key_source(module: PretrainedLanguageModel, key_layer: str) -> tuple[nn.Module, Side]:
    """The layer, and whether its first input or its output is the key: (B, T, D), in some models (B * T, D); for a forward hook.

    ``last_ffn_input``: what the last feed-forward layer reads, behind its norm; ``last_ffn_output``: what it adds to the
    residual stream.

    Raises:
        ValueError: the last block has no feed-forward layer that is known.
    """
    side, block = _SIDES[key_layer], module.blocks[-1]
    for name in _WHOLE:
        if isinstance(layer := getattr(block, name, None), nn.Module):
            return (_without_residual(layer), side) if side == "output" else (layer, side)
    first, last = (getattr(block, name, None) for name in _HALVES)
    if isinstance(first, nn.Module) and isinstance(last, nn.Module):
        return (first if side == "input" else last), side
    raise ValueError(
        f"the last block of a {module.config['model_type']} has no feed-forward layer that is known, "
        "so it gives no keys: take another model, such as a gpt2 or a llama"
    )


def key_width(config: Mapping[str, Any]) -> int:
    """Elements of a key, of either layer: the width of the residual stream."""
    return model_sizes(config).width


def _without_residual(layer: nn.Module) -> nn.Module:
    """Some layers take the residual stream as well and return the sum: of them the last projection."""
    return list(layer.children())[-1] if "residual" in inspect.signature(layer.forward).parameters else layer
