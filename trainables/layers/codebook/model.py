"""A codebook memory between an encoder and a decoder: the one module of which every architecture of the family is a case."""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import Tensor, nn

from trainables.counts import ParameterCounts
from trainables.layers.codebook.counting import codebook_activations, count_codebook_model
from trainables.layers.codebook.memory import CodebookMemory, linear
from trainables.layers.codebook.plan import CodebookPlan


class CodebookModel(nn.Module, abc.ABC):
    """Predicts at each position of a window the value that follows it: ``y = Linear(D, C)(read)``.

    Subclasses say which codebooks there are. Drawn from torch's global generator, in this order: encoder (Xavier-uniform, zero
    biases), codebooks (N(0, 1)), decoder, random positions. Models that agree in these draw the same.
    """

    auxiliary_loss: Tensor | None = None
    """In hard modes, after a call in training mode: the weighted commitment losses of all codebooks, summed."""

    def __init__(self, model: Any, task: Any) -> None:
        super().__init__()
        plan = self.plan(model)
        self.blocks = CodebookMemory(model, task.channels, plan)
        self.output_head = linear(model.dim, task.channels)
        self.blocks.draw_position(model)
        self.codebook_sizes: tuple[int, ...] = self.blocks.reads.sizes

    @staticmethod
    @abc.abstractmethod
    def plan(model: Any) -> CodebookPlan:
        """The codebooks of a configuration, whose fields may be NumPy arrays."""

    @classmethod
    def count(cls, model: Any, task: Any) -> ParameterCounts:
        return count_codebook_model(model, task, cls.plan(model))

    @classmethod
    def activation_elements(cls, model: Any, task: Any) -> Any:
        return codebook_activations(model, task, cls.plan(model))

    def forward(self, windows: Tensor) -> Tensor:
        """(B, T, C) windows to (B, T, C) predictions of the values one step later."""
        predictions: Tensor = self.output_head(self.blocks(windows))
        self.auxiliary_loss = self._commitment_loss()
        return predictions

    @torch.no_grad()
    def chosen_codes(self, windows: Tensor) -> list[Tensor]:
        """Of (B, T, C) windows the row of each codebook that was read most, (B, T) int64; level by level, nothing is updated.

        Where codebooks read from each other (``order: inc``) inputs choose from the first level alone.
        """
        return self.blocks.reads.choose(self.blocks.queries(windows))

    def _commitment_loss(self) -> Tensor | None:
        losses = [level.commitment_loss for level in self.blocks.reads.levels]
        found = [loss for loss in losses if isinstance(loss, Tensor)]
        return torch.stack(found).sum() if found else None
