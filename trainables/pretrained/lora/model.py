"""A frozen backbone with low-rank adapters, which are all that is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.counts import ParameterCounts
from trainables.pretrained.backbone import inspect_backbone
from trainables.pretrained.language_model import BackboneLanguageModel
from trainables.pretrained.lora.adapters import inject_adapters, name_in_backbone, what_adapters_add
from trainables.pretrained.lora.configuration import LoraConfiguration
from trainables.pretrained.lora.counting import lora_activations, lora_counts
from trainables.pretrained.lora.quantization import is_quantized, matrix_of, quantize_layers, scale_bytes, set_matrix
from trainables.pretrained.lora.rules import inspect_targets
from trainables.pretrained.lora.targets import is_transposed, linear_layers, targets_of
from trainables.pretrained.model import model_on_meta
from trainables.shared_training import STAGE
from trainables.shared_weights import read_weights


class LoraLanguageModel(BackboneLanguageModel):
    """Each target ``y = W x`` becomes ``y = W x + (lora_alpha / r) B A dropout(x)``; W is frozen, B begins at 0.

    A (r, in) and B (out, r) are drawn from torch's global generator behind the backbone. Matrices that are to be quantised are
    packed when the module is moved to its device, the CPU too; on the ``meta`` device nothing is quantised.

    Raises:
        ValueError: the backbone lacks a target.
        ModuleNotFoundError: peft, or for ``quantize`` bitsandbytes, is not installed; the text says how to.
    """

    default_targets: ClassVar[tuple[str, ...]]
    """The layers that get adapters where the configuration names none."""

    def __init__(self, model: LoraConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self._made_of = (model, task)
        self.quantized = model.quantize is not None and not next(self.parameters()).is_meta
        layers = linear_layers(self)
        if self.quantized:
            quantize_layers(self.model, layers)
        targets = targets_of(model.backbone, model.target_modules, self.default_targets)
        inject_adapters(self.model, model, targets.names, transposed=any(map(is_transposed, layers.values())))
        self.adapters = frozenset(name for name, parameter in self.named_parameters() if parameter.requires_grad)
        """Names of their parameters."""
        self.train(False)

    def is_prepared(self, name: str) -> bool:
        """Whether no checkpoint has to hold the tensor of this name.

        The weights of a folder or a pretraining are in their stage. Those of a quantised shape never change, and the seed draws
        them again.
        """
        return name not in self.adapters and (self.backbone.shares_weights or self.quantized)

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Takes the weights of the backbone's folder or pretraining, where it has one, and packs those that are to be quantised.

        Raises:
            ValueError: they are not this model's.
        """
        if self.backbone.shares_weights:
            self._load_backbone(read_weights(folders[STAGE]), folders[STAGE])

    def _load_backbone(self, state: dict[str, Tensor], folder: Path) -> None:
        wanted = _shapes(model_on_meta(self.config).state_dict())
        if differing := wanted.items() ^ _shapes(state).items():
            name = min(differing)[0]
            raise ValueError(f"{folder} does not hold the backbone of this run ({name}): remove it, and it will be made again")
        places = self._places()
        for name in [name for name in state if is_quantized(self._layer(places[name]), name)]:
            set_matrix(self._layer(places[name]), state.pop(name))
        self.load_state_dict({places[name]: tensor for name, tensor in state.items()}, strict=False)

    @torch.no_grad()
    def merged_state_dict(self) -> dict[str, Tensor]:
        """The backbone's state with what the adapters add, in float32, under the backbone's own names.

        A :class:`PretrainedLanguageModel` of the same configuration that loads it gives the same logits.
        """
        own, state = self.state_dict(), {}
        for name, place in self._places().items():
            layer = self._layer(place)
            state[name] = matrix_of(layer) if is_quantized(layer, name) else own[place].clone()
        for name, added in what_adapters_add(self):
            state[f"{name}.weight"] += added
        return state

    def _places(self) -> dict[str, str]:
        """Of each tensor of the backbone, by its own name, the name here."""
        known = model_on_meta(self.config).state_dict()
        here = {name_in_backbone(name): name for name in self.state_dict() if name not in self.adapters}
        return {name: here[name] for name in known}

    def _layer(self, name: str) -> nn.Module:
        """That holds the tensor of this name."""
        return self.get_submodule(name.rpartition(".")[0])

    def unpacked(self) -> nn.Module:
        """This module, or where matrices are packed one on the ``meta`` device whose parameters are those that they stand for."""
        if not self.quantized:
            return self
        with torch.device("meta"):
            return type(self)(*self._made_of)

    def extra_bytes(self) -> int:
        """Bytes held beside parameters and buffers: the scales of packed matrices."""
        return scale_bytes(self)

    @classmethod
    def inspect(cls, model: Any, task: Any) -> None:
        inspect_backbone(model, task)
        inspect_targets(model, cls.default_targets)

    @classmethod
    def count(cls, model: Any, task: Any) -> ParameterCounts:
        return lora_counts(model, task, cls.default_targets)

    @classmethod
    def activation_elements(cls, model: Any, task: Any) -> Any:
        return lora_activations(model, task, cls.default_targets)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
