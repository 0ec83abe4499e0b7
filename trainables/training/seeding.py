"""The random numbers of a run: seeded at its start, put into its checkpoints, and the threads that sums are split over."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a run on ``device`` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Goes on from ``states``; one that is missing (the run moved to another kind of device) stays as seeded."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def fit_threads(cpus: float) -> None:
    """As many torch threads as the run has CPUs, at least one."""
    torch.set_num_threads(max(1, int(cpus)))
