"""How evenly a product-key memory's slots are used."""

import math

import pytest
import torch

from trainables.layers.product_keys.memory import ProductKeyMemory
from trainables.layers.product_keys.usage import SlotUsage
from trainables.observation import observe


def test_even_reading_uses_all_slots_and_diverges_from_uniform_by_nothing() -> None:
    usage = SlotUsage(12)
    usage.add(torch.arange(12).view(2, 6), torch.full((2, 6), 0.5))
    assert usage.figures() == {"slots/usage": 1.0, "slots/kl": pytest.approx(0.0, abs=1e-12)}


def test_one_slot_that_has_everything_diverges_by_the_logarithm_of_their_number() -> None:
    usage = SlotUsage(12)
    usage.add(torch.full((2, 6), 3), torch.rand(2, 6))
    assert usage.figures() == {"slots/usage": pytest.approx(1 / 12), "slots/kl": pytest.approx(math.log(12))}


def test_figures_are_those_of_all_that_was_read_while_it_was_observed() -> None:
    torch.manual_seed(0)
    memory = ProductKeyMemory(8, n_subkeys=4, n_neighbors=3, heads=2, query_dim=6)
    memory(torch.randn(2, 5, 8))
    seen = [torch.randn(2, 5, 8), torch.randn(1, 7, 8)]

    def read_all() -> None:
        for x in seen:
            memory(x)

    found = observe(memory, read_all)
    weights = [0.0] * 16
    for x in seen:
        slots, shares = memory.select(x)
        for slot, share in zip(slots.flatten().tolist(), shares.flatten().tolist(), strict=True):
            weights[slot] += share
    parts = [weight / sum(weights) for weight in weights]
    assert found["slots/usage"] == sum(part > 0 for part in parts) / 16
    assert found["slots/kl"] == pytest.approx(sum(part * math.log(part * 16) for part in parts if part), rel=1e-5)


def test_a_memory_that_read_nothing_tells_nothing() -> None:
    memory = ProductKeyMemory(8, n_subkeys=4, n_neighbors=3, heads=2, query_dim=6)
    assert observe(memory, lambda: None) == {} and memory.end_observation() == {}
