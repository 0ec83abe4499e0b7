"""Shared test set-up: one torch thread a process, so that two cores are not oversubscribed."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Integration comes last: Ray and the tracking client leave a large heap behind, which makes every later collection of
    garbage slow, and each run of a worker begins with one."""
    items.sort(key=lambda item: "integration" in item.path.parts)
