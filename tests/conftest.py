"""Shared test set-up: one torch thread a process, so that two cores are not oversubscribed, and a small heap."""

import gc

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Integration comes last: its Ray is up from its first test to the end of the suite, and takes memory from others."""
    items.sort(key=lambda item: "integration" in item.path.parts)


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> None:
    """What is there when a module of tests begins is left alone by later collections of garbage: each run of a worker begins with
    one, which would go through every test and every library that the whole suite has loaded."""
    gc.collect()
    gc.freeze()
