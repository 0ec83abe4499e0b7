"""What every architecture made of a backbone shares: the model with its weights, its counts and its rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trainables.columns import by_row, counts_by_row
from trainables.configuration import Configuration
from trainables.counts import ParameterCounts
from trainables.pretrained.activations import activation_elements
from trainables.pretrained.backbone import Backbone, inspect_backbone
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.sizes import model_sizes
from trainables.sequence_length import sequence_length
from trainables.shared_training import STAGE
from trainables.shared_weights import load_weights
from trainables.stages import Stage
from trainables.task import Task


class BackboneLanguageModel(PretrainedLanguageModel):
    """A backbone that is trained: all of it, in training mode with the dropout of its own configuration.

    The weights of a folder or a pretraining come from a stage; others are drawn from torch's global generator.
    """

    def __init__(self, model: Any, task: Any) -> None:
        self.backbone = Backbone.of(model.backbone)
        super().__init__(self.backbone.config)

    def train(self, mode: bool = True) -> BackboneLanguageModel:
        nn.Module.train(self, mode)
        return self

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Takes the weights of the backbone's folder or pretraining, where it has one.

        Raises:
            ValueError: they are not this model's.
        """
        if self.backbone.shares_weights:
            load_weights(self, folders[STAGE])

    @classmethod
    def stages(cls, model: Any, task_type: type[Task], task: Configuration) -> Sequence[Stage]:
        return Backbone.of(model.backbone).stages(task_type, task)

    @staticmethod
    def inspect(model: Any, task: Any) -> None:
        inspect_backbone(model, task)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        """Exact, from the module on the meta device; ``model.backbone`` may be a column."""
        return counts_by_row(lambda value, _: Backbone.of(value).counts(), model.backbone, task)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """Of a sequence; fields may be NumPy arrays."""

        def of_row(value: Any, of_task: Any) -> Any:
            return activation_elements(model_sizes(Backbone.of(value).config), sequence_length(of_task))

        return by_row(of_row, model.backbone, task)
