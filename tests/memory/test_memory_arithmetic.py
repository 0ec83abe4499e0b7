"""Memory by arithmetic against modules and optimisers that exist."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables.counts import ParameterCounts, measure_counts
from trainables.memory import MIB, estimated_mib, weights_mib

sizes = st.integers(0, 10_000)


def small_module() -> nn.Module:
    module = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 8))
    module[2].requires_grad_(False)
    return module


def bytes_of(tensors: object) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_weights_are_what_a_checkpoint_stores():
    module = small_module()
    assert weights_mib(module) == bytes_of(module.state_dict().values()) / MIB


def test_weights_follow_the_precision_and_count_shared_tensors_once():
    module = nn.Sequential(nn.Linear(512, 512, bias=False), nn.Linear(512, 512, bias=False))
    assert weights_mib(module) == 2
    assert weights_mib(module.half()) == 1
    module[1].weight = module[0].weight
    assert weights_mib(module) == 0.5


def test_a_training_step_holds_what_is_estimated():
    module, activation_elements = small_module(), 0
    optimiser = torch.optim.Adam(parameter for parameter in module.parameters() if parameter.requires_grad)
    module(torch.ones(4, 64)).sum().backward()
    optimiser.step()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    moments = [state[name] for state in optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
    counter = module[1].num_batches_tracked
    held = bytes_of([*module.parameters(), *module.buffers(), *gradients, *moments]) - 4 * counter.numel()
    assert estimated_mib(measure_counts(module), activation_elements, 4, training=True) * MIB == pytest.approx(held)


@given(block=sizes, frozen=sizes, buffers=sizes, external=sizes, activations=sizes, batch_size=st.integers(1, 512))
def test_training_adds_three_elements_a_trainable_parameter(
    block: int, frozen: int, buffers: int, external: int, activations: int, batch_size: int
):
    counts = ParameterCounts(block=block + frozen, frozen=frozen, buffers=buffers, external=external)
    evaluation = estimated_mib(counts, activations, batch_size, training=False)
    training = estimated_mib(counts, activations, batch_size, training=True)
    assert evaluation * MIB == 4 * (block + frozen + buffers + external + activations * batch_size)
    assert (training - evaluation) * MIB == pytest.approx(12 * block)
    assert estimated_mib(counts, activations, batch_size, training=True, bytes_per_element=2) == training / 2


def test_arrays_are_estimated_element_by_element():
    counts = ParameterCounts(block=np.array([10, 20]), frozen=np.array([0, 20]))
    assert estimated_mib(counts, np.array([5, 0]), 2, training=True) * MIB == pytest.approx([200, 80])
