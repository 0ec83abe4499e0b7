"""What is told of the share that a memory gets."""

import pytest
import torch

from trainables.layers.memory_share import MemoryShare


def test_mean_and_deviation_are_over_all_shares_since_the_beginning() -> None:
    share = MemoryShare()
    share(torch.tensor([9.0]))
    share.begin_observation()
    parts = [torch.rand(2, 3), torch.rand(5)]
    assert all(share(part) is part for part in parts)
    seen = torch.cat([part.flatten() for part in parts])
    found = share.end_observation()
    assert found["gate/mean"] == pytest.approx(seen.mean().item()) and found["gate/std"] == pytest.approx(
        seen.std(correction=0).item()
    )


def test_without_shares_nothing_is_told() -> None:
    share = MemoryShare()
    assert share.end_observation() == {}
    share.begin_observation()
    assert share.end_observation() == {}


def test_an_observation_begins_anew() -> None:
    share = MemoryShare()
    for value in (0.25, 0.75):
        share.begin_observation()
        share(torch.full((4,), value))
        assert share.end_observation() == {"gate/mean": value, "gate/std": 0.0}
