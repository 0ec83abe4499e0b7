"""Feature maps (kernels) and parameter-free normalisations of one head's queries, keys or values, over the last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Kernel = Literal["none", "silu", "relu", "elu1", "softmax"]
Norm = Literal["none", "l2", "rms", "sum", "softmax"]

EPS = 1e-6


def _identity(x: Tensor) -> Tensor:
    return x


def _positive_elu(x: Tensor) -> Tensor:
    return functional.elu(x) + 1.0


def _softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1)


def _unit_length(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + EPS)


def _unit_mean_square(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def _unit_sum(x: Tensor) -> Tensor:
    # Magnitudes, because the plain sum of signed features passes through zero; for non-negative features they agree.
    return x / (x.abs().sum(-1, keepdim=True) + EPS)


KERNELS: dict[Kernel, Callable[[Tensor], Tensor]] = {
    "none": _identity,
    "silu": functional.silu,
    "relu": functional.relu,
    "elu1": _positive_elu,
    "softmax": _softmax,
}
NORMS: dict[Norm, Callable[[Tensor], Tensor]] = {
    "none": _identity,
    "l2": _unit_length,
    "rms": _unit_mean_square,
    "sum": _unit_sum,
    "softmax": _softmax,
}
