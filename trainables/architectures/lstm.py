"""An LSTM with a linear head."""

from __future__ import annotations

from typing import Any

from torch import nn

from trainables.architecture import register_architecture
from trainables.counts import ParameterCounts
from trainables.layers.lstm import LstmConfiguration, LstmModel, count_lstm_model, lstm_activations


@register_architecture("lstm", configuration=LstmConfiguration, kind="series")
class Lstm(LstmModel):
    """A stacked LSTM (Hochreiter and Schmidhuber 1997) with a linear head; predicts the value after the window, with context."""

    def __init__(self, model: LstmConfiguration, task: Any) -> None:
        super().__init__(model, task, nn.Linear(model.hidden_size, task.channels))

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        return count_lstm_model(model, task, (model.hidden_size + 1) * task.channels)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        return lstm_activations(model, task, model.hidden_size)
