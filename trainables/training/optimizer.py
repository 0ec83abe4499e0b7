"""The optimiser of a training configuration, in the form that is fastest on the parameters' device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables.training.configuration import TrainingConfiguration


def build_optimizer(training: TrainingConfiguration, module: nn.Module) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or Adam (Kingma and Ba 2015), one kernel for all parameters on CPU and CUDA.

    A module inside ``module`` may have a method ``learning_rates()``, from parameters to the constant learning rate of each.
    They form groups of their own, without weight decay, behind the parameters that follow the schedule.
    """
    kind: type[torch.optim.AdamW | torch.optim.Adam] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[training.optimizer]
    return kind(
        _groups(module),
        lr=training.lr,
        betas=(training.beta1, training.beta2),
        weight_decay=training.weight_decay,
        fused=True,
    )


def _groups(module: nn.Module) -> list[dict[str, Any]]:
    own: dict[nn.Parameter, float] = {}
    for part in module.modules():
        own.update(getattr(part, "learning_rates", dict)())
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [parameter for parameter in trainable if parameter not in own]}]
    for rate in sorted(set(own.values())):
        parameters = [parameter for parameter in trainable if own.get(parameter) == rate]
        groups.append({"params": parameters, "lr": rate, "weight_decay": 0.0, "has_constant_lr": True})
    return groups


def optimised_parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The parameters in the order in which the optimiser's state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Of all parameters that follow the schedule."""
    for group in optimizer.param_groups:
        if not group.get("has_constant_lr", False):
            group["lr"] = learning_rate


def clip_gradients(parameters: Sequence[nn.Parameter], largest_norm: float) -> Tensor:
    """Scales all gradients so that their global norm is at most ``largest_norm``; returns the norm before, without waiting."""
    return nn.utils.clip_grad_norm_(parameters, largest_norm, foreach=True)
