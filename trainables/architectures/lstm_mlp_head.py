"""An LSTM with a head of two layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from trainables.architecture import register_architecture
from trainables.configuration import hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.lstm import LstmConfiguration, LstmModel, count_lstm_model, lstm_activations


@dataclass(frozen=True, kw_only=True)
class LstmMlpHeadConfiguration(LstmConfiguration):
    hidden_size: int = hyperparameter(512, "width of the states of each layer; the head is four times as wide", minimum=1)


@register_architecture("lstm_mlp_head", configuration=LstmMlpHeadConfiguration, kind="series")
class LstmMlpHead(LstmModel):
    """A stacked LSTM with a head of two layers, 4 hidden_size wide; predicts the value after the window, with context."""

    def __init__(self, model: LstmMlpHeadConfiguration, task: Any) -> None:
        wide = 4 * model.hidden_size
        super().__init__(
            model, task, nn.Sequential(nn.Linear(model.hidden_size, wide), nn.ReLU(), nn.Linear(wide, task.channels))
        )

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        wide = 4 * model.hidden_size
        return count_lstm_model(model, task, (model.hidden_size + 1) * wide + (wide + 1) * task.channels)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        """The head keeps the last state and the output of its ReLU."""
        return lstm_activations(model, task, 5 * model.hidden_size)
