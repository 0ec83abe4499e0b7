"""Adapters put into a model by the package peft."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from trainables.pretrained.lora.configuration import LoraConfiguration
from trainables.pretrained.transformers_package import quiet

_ADAPTER = "default"


def inject_adapters(model: nn.Module, configuration: LoraConfiguration, names: Sequence[str], *, transposed: bool) -> None:
    """Puts adapters into the linear layers of these names and freezes all else; ``transposed``: as those of GPT-2 are stored.

    Raises:
        ModuleNotFoundError: peft is not installed; the text says how to.
    """
    peft = _peft()
    adapters = peft.LoraConfig(
        r=configuration.lora_r,
        lora_alpha=configuration.lora_alpha,
        lora_dropout=configuration.dropout,
        target_modules=list(names),
        fan_in_fan_out=transposed,
        bias="none",
        task_type="CAUSAL_LM",
    )
    with quiet():
        peft.inject_adapter_in_model(adapters, model, _ADAPTER)
    # Around packed matrices peft makes them in the precision of the computations, in which small steps are lost.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def what_adapters_add(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The name of each adapted layer, and ``(lora_alpha / r) B A`` in the shape of its matrix."""
    for name, layer in model.named_modules():
        if hasattr(layer, "get_delta_weight"):
            yield name, layer.get_delta_weight(_ADAPTER).detach()


def name_in_backbone(name: str) -> str:
    """The name that a frozen tensor had before adapters were put in."""
    return name.replace(".base_layer.", ".")


def _peft() -> Any:
    """Imported where adapters are made: it takes seconds and is an extra."""
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        if error.name != "peft":
            raise
        raise ModuleNotFoundError("low-rank adapters need the package peft: pip install 'memsweep[hf]'", name="peft") from error
