"""Shared test set-up: one torch thread a process, so that two cores are not oversubscribed."""

import torch

torch.set_num_threads(1)
