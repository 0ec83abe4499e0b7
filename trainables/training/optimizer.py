"""The optimiser of a training configuration, in the form that is fastest on the parameters' device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainables.training.configuration import TrainingConfiguration


def build_optimizer(training: TrainingConfiguration, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or Adam (Kingma and Ba 2015), one kernel for all parameters on CPU and CUDA."""
    kind: type[torch.optim.AdamW | torch.optim.Adam] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[training.optimizer]
    return kind(
        parameters,
        lr=training.lr,
        betas=(training.beta1, training.beta2),
        weight_decay=training.weight_decay,
        fused=True,
    )


def clip_gradients(parameters: Sequence[nn.Parameter], largest_norm: float) -> Tensor:
    """Scales all gradients so that their global norm is at most ``largest_norm``; returns the norm before, without waiting."""
    return nn.utils.clip_grad_norm_(parameters, largest_norm, foreach=True)
