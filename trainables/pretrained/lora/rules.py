"""Whether a backbone can have the adapters that are asked for, known before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainables.configuration import ConfigurationError, Rule
from trainables.pretrained.backbone import Backbone, backbone_rule
from trainables.pretrained.lora.quantization import NUMBERS_IN_BLOCK
from trainables.pretrained.lora.rows import for_each_row
from trainables.pretrained.lora.targets import is_transposed, linear_layers, targets_of
from trainables.pretrained.model import model_on_meta


def lora_rules(defaults: Sequence[str]) -> tuple[Rule, ...]:
    """That the backbone fits its task, has the layers that get adapters, and can be quantised where it is to be."""
    return (
        backbone_rule(),
        Rule(
            lambda model, task: for_each_row(
                lambda backbone, wanted: _missing(backbone, wanted, defaults) is None, model.backbone, model.target_modules
            ),
            f"adapters need layers of the backbone (by default {', '.join(defaults)}): name its linear layers in target_modules",
        ),
        Rule(
            lambda model, task: for_each_row(
                lambda backbone, quantize: _unquantizable(backbone, quantize) is None, model.backbone, model.quantize
            ),
            "quantize needs a backbone like Llama whose widths are multiples of 64: set it to null",
        ),
    )


def inspect_targets(model: Any, defaults: Sequence[str]) -> None:
    """Says exactly what :func:`lora_rules` has against a configuration.

    Raises:
        ConfigurationError: a target is missing, or the matrices cannot be quantised.
    """
    found = {
        "target_modules": _missing(model.backbone, model.target_modules, defaults),
        "quantize": _unquantizable(model.backbone, model.quantize),
    }
    problems: list[tuple[str | None, str]] = [(field, text) for field, text in found.items() if text is not None]
    if problems:
        raise ConfigurationError(problems)


def _missing(backbone: Any, wanted: Sequence[str] | None, defaults: Sequence[str]) -> str | None:
    try:
        targets_of(backbone, wanted, defaults)
    except ValueError as error:
        return str(error)
    return None


def _unquantizable(backbone: Any, quantize: str | None) -> str | None:
    if quantize is None:
        return None
    model_type = Backbone.of(backbone).config["model_type"]
    for name, layer in linear_layers(model_on_meta(Backbone.of(backbone).config)).items():
        if is_transposed(layer):
            return f"the matrices of a {model_type} are stored transposed and cannot be held in 4 bits: set it to null"
        if layer.in_features % NUMBERS_IN_BLOCK:
            rows = f"blocks of {NUMBERS_IN_BLOCK} numbers, and {name} has rows of {layer.in_features}"
            return f"4 bits need {rows}: set it to null or take a width that {NUMBERS_IN_BLOCK} divides"
    return None
