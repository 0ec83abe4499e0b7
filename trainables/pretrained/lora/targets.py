"""Which matrices of a backbone get adapters."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from trainables.pretrained.backbone import Backbone
from trainables.pretrained.model import PretrainedLanguageModel, model_on_meta


@dataclass(frozen=True, slots=True)
class Targets:
    """The layers of a backbone that get adapters."""

    names: tuple[str, ...]
    """In the model of transformers, in its order."""
    inputs: int
    """Widths of what they read, added up."""
    widths: int
    """Widths of what they read and of what they give, added up: the parameters of adapters of rank 1."""


def linear_layers(module: PretrainedLanguageModel) -> dict[str, Any]:
    """The matrices inside the blocks, by their names in the model of transformers."""
    kinds, inside = (nn.Linear, _transposed_linear()), set(module.blocks.modules())
    return {name: layer for name, layer in module.model.named_modules() if layer in inside and isinstance(layer, kinds)}


def is_transposed(layer: nn.Module) -> bool:
    """Whether a linear layer holds its matrix as (in, out), as in GPT-2."""
    return isinstance(layer, _transposed_linear())


def targets_of(backbone: Any, wanted: Sequence[str] | None, defaults: Sequence[str]) -> Targets:
    """The linear layers whose name is one of ``wanted`` (None: ``defaults``) or ends with it behind a dot.

    Raises:
        ValueError: none is wanted, or the backbone has none of a name.
    """
    config = json.dumps(dict(Backbone.of(backbone).config), sort_keys=True)
    return _found(config, tuple(map(str, defaults if wanted is None else wanted)))


@functools.lru_cache(maxsize=256)
def _found(config: str, wanted: tuple[str, ...]) -> Targets:
    module = model_on_meta(json.loads(config))
    layers = linear_layers(module)
    _require_each(wanted, layers, module.config["model_type"])
    chosen = {name: layer for name, layer in layers.items() if any(_is_called(name, text) for text in wanted)}
    shapes = [_in_and_out(layer) for layer in chosen.values()]
    return Targets(tuple(chosen), sum(inputs for inputs, _ in shapes), sum(map(sum, shapes)))


def _require_each(wanted: Sequence[str], layers: Mapping[str, Any], model_type: str) -> None:
    if not wanted:
        raise ValueError("it is empty: name linear layers, or write null for those of the architecture")
    missing = next((text for text in wanted if not any(_is_called(name, text) for name in layers)), None)
    if missing is not None:
        known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers)) or "none"
        raise ValueError(f"a {model_type} has no {missing}: its linear layers are {known}; name some in target_modules")


def _is_called(name: str, text: str) -> bool:
    return name == text or name.endswith(f".{text}")


def _in_and_out(layer: Any) -> tuple[int, int]:
    rows, columns = layer.weight.shape
    return (rows, columns) if is_transposed(layer) else (columns, rows)


def _transposed_linear() -> type[nn.Module]:
    kind: type[nn.Module] = importlib.import_module("transformers.pytorch_utils").Conv1D
    return kind
