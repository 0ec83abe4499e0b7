"""The hyperparameters of training, the same for every task that trains in epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainables.configuration import Configuration, hyperparameter
from trainables.task import Task

_BELOW_ONE = 0.999999


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration(Configuration):
    """How a module is trained; tasks have defaults of their own for some of these (see :func:`training_values`)."""

    lr: float = hyperparameter(1e-3, "learning rate of the first epoch", above=0)
    batch_size: int = hyperparameter(32, "examples of a batch, and of an optimiser step where none are accumulated", minimum=1)
    eval_batch_size: int = hyperparameter(256, "examples evaluated at once; changes speed and memory, not results", minimum=1)
    gradient_accumulation: int = hyperparameter(
        1, "batches whose gradients are averaged before an optimiser step: memory of one, gradient of all", minimum=1
    )
    epochs: int = hyperparameter(10, "passes over the training data; 0 evaluates only", minimum=0)
    optimizer: Literal["adamw", "adam"] = hyperparameter("adamw", "optimiser; adam adds weight decay to the gradient")
    weight_decay: float = hyperparameter(0.0, "weight decay of the parameters that follow lr", minimum=0)
    beta1: float = hyperparameter(0.9, "decay of the optimiser's mean of gradients", minimum=0, maximum=_BELOW_ONE)
    beta2: float = hyperparameter(0.999, "decay of the optimiser's mean of squared gradients", minimum=0, maximum=_BELOW_ONE)
    clip_grad: float | None = hyperparameter(None, "largest global norm of the gradient; null does not clip", above=0)
    lr_gamma: float = hyperparameter(1.0, "factor of the learning rate after each epoch", above=0, maximum=1)
    lr_min: float = hyperparameter(1e-5, "the decay stops at this learning rate; a smaller lr stays as it is", minimum=0)
    shuffle: bool = hyperparameter(True, "a new order of the examples in each epoch")
    stop_at_target: bool = hyperparameter(False, "the run is complete once the task's target is reached")

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1: lr * lr_gamma^(epoch - 1), not below min(lr, lr_min)."""
        return max(self.lr * self.lr_gamma ** (epoch - 1), min(self.lr, self.lr_min))


def training_values(task_type: type[Task], written: Mapping[str, Any]) -> dict[str, Any]:
    """All training values: the defaults of training, overridden by the task's, overridden by what is written."""
    return {**TrainingConfiguration().to_values(), **task_type.training_defaults, **written}
