"""Stacked LSTMs over a window: what the two heads on them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.configuration import Configuration, hyperparameter
from trainables.counts import ParameterCounts

_KEPT_PER_CELL = 16
"""Numbers that torch's fused CPU kernel keeps for the backward pass per step, layer and cell (measured); the plain one 8."""


@dataclass(frozen=True, kw_only=True)
class LstmConfiguration(Configuration):
    hidden_size: int = hyperparameter(64, "width of the states of each layer", minimum=1)
    n_layers: int = hyperparameter(2, "number of stacked layers", minimum=1)
    random_initial_state: bool = hyperparameter(False, "begin each window with states from N(0, 1) instead of zeros")


class LstmModel(nn.Module):
    """``nn.LSTM`` over the window; its last output goes through the head: the window's end alone predicts.

    ``blocks`` is the LSTM. Every weight matrix, head included, is drawn Xavier-uniform; all biases are zero.
    """

    def __init__(self, model: LstmConfiguration, task: Any, head: nn.Module) -> None:
        super().__init__()
        self.random_initial_state = model.random_initial_state
        self.blocks = nn.LSTM(task.channels, model.hidden_size, model.n_layers, batch_first=True)
        self.output_head = head
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, windows: Tensor) -> Tensor:
        """(B, T, C) windows to (B, 1, C) predictions of the value after the last one."""
        outputs, _ = self.blocks(windows, self._initial_state(windows))
        predictions: Tensor = self.output_head(outputs[:, -1:])
        return predictions

    def _initial_state(self, windows: Tensor) -> tuple[Tensor, Tensor] | None:
        if not self.random_initial_state:
            return None
        shape = (2, self.blocks.num_layers, len(windows), self.blocks.hidden_size)
        hidden, cell = torch.randn(shape, dtype=windows.dtype, device=windows.device)
        return hidden, cell


def count_lstm_model(model: Any, task: Any, head: Any) -> ParameterCounts:
    """Counts of an :class:`LstmModel` whose head has ``head`` parameters; fields may be NumPy arrays."""
    width = model.hidden_size
    first = 4 * width * (task.channels + width) + 8 * width
    other = 4 * width * 2 * width + 8 * width
    return ParameterCounts(block=first + (model.n_layers - 1) * other, other=head)


def lstm_activations(model: Any, task: Any, head: Any) -> Any:
    """Elements kept for the backward pass of one window, ``head`` of them by the head; fields may be NumPy arrays.

    What the layers keep depends on the kernel: this is the one that torch takes on a CPU, CUDA's keep less.
    """
    return task.time_steps * (task.channels + _KEPT_PER_CELL * model.n_layers * model.hidden_size) + head + 2 * task.channels
