"""What a run leaves on its device, on a device whose figures a test sets."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from trainables.memory import DeviceBaseline, cuda

CUDA = torch.device("cuda", 0)


class FakeDevice:
    """Tensors of known sizes; ``lost``: every call fails, as after a fault on the device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held_mib, self.garbage_mib, self.lost = 100.0, 0.0, False
        monkeypatch.setattr(cuda, "release", self.release)
        monkeypatch.setattr(cuda, "allocated_mib", lambda device: self.held_mib + self.garbage_mib)

    def release(self, device: torch.device) -> None:
        assert device == CUDA
        if self.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self.garbage_mib = 0.0


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return FakeDevice(monkeypatch)


def test_what_was_there_before_and_what_can_be_freed_does_not_count(device: FakeDevice) -> None:
    device.garbage_mib = 7
    baseline = DeviceBaseline(CUDA)
    device.garbage_mib = 500
    assert baseline.leftover_mib() == 0


def test_what_stays_is_told_and_less_than_before_is_nothing(device: FakeDevice) -> None:
    baseline = DeviceBaseline(CUDA)
    device.held_mib = 164
    assert baseline.leftover_mib() == 64
    device.held_mib = 36
    assert baseline.leftover_mib() == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_device_that_no_longer_answers_is_never_clean(device: FakeDevice, when: str) -> None:
    device.lost = when == "before"
    baseline = DeviceBaseline(CUDA)
    device.lost = when == "after"
    assert baseline.leftover_mib() == math.inf


def test_the_host_has_no_baseline() -> None:
    baseline = DeviceBaseline(torch.device("cpu"))
    held = torch.ones(2**18)
    assert baseline.leftover_mib() == 0 and held.numel()


def test_releasing_collects_before_the_cache_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str) -> Any:
        return lambda *_: calls.append(name)

    for owner, name in ((torch.cuda, "synchronize"), (torch.cuda, "empty_cache")):
        monkeypatch.setattr(owner, name, noted(name))
    monkeypatch.setattr("gc.collect", noted("collect"))
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", noted("workspaces"), raising=False)
    cuda.release(CUDA)
    assert calls == ["collect", "synchronize", "workspaces", "empty_cache"]
    monkeypatch.delattr(torch._C, "_cuda_clearCublasWorkspaces")
    cuda.release(CUDA)
    assert calls[4:] == ["collect", "synchronize", "empty_cache"]
