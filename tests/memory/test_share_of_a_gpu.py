"""A run within its share: on a device whose allocator and driver are played, since most machines have none."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from fake_nvml import Gpu, Machine

from trainables.memory import MIB, DeviceContext, MemoryShare, SharedDevice, cuda
from trainables.memory.context import LOADED_LATER_MIB, UNMEASURED_MIB

CUDA = torch.device("cuda", 0)
OURS = os.getpid()
TOTAL_MIB = 8000


@dataclass
class FakeDevice:
    """A GPU with a CUDA context of 400 MiB; ``fractions`` is what the allocator was told."""

    driver: Machine = field(default_factory=lambda: Machine({"GPU-1": Gpu(total_mib=TOTAL_MIB, used_mib=100)}))
    context_mib: float = 400
    reserved_mib: float = 0
    peak_reserved_mib: float = 0
    fractions: list[float] = field(default_factory=list)
    listed: bool = True
    lost: bool = False

    @property
    def gpu(self) -> Gpu:
        return self.driver.gpus["GPU-1"]

    def create(self, device: torch.device) -> None:
        self.gpu.used_mib = (self.gpu.used_mib or 0) + self.context_mib
        self.update()

    def update(self) -> None:
        self.gpu.processes_mib = {OURS: self.context_mib + self.reserved_mib} if self.listed else {}

    def limit_mib(self) -> float:
        return self.fractions[-1] * TOTAL_MIB

    def reserved(self, device: torch.device) -> int:
        if self.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return int(self.reserved_mib * MIB)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    fake = FakeDevice()
    monkeypatch.setitem(sys.modules, "pynvml", fake.driver)
    monkeypatch.setattr(cuda, "create_context", fake.create)
    monkeypatch.setattr(cuda, "device_uuids", lambda _: ["GPU-1"])
    monkeypatch.setattr(torch.cuda, "memory_reserved", fake.reserved)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: int(fake.peak_reserved_mib * MIB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=TOTAL_MIB * MIB - 1))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, TOTAL_MIB * MIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: fake.fractions.append(share))
    return fake


def test_the_allocator_gets_the_limit_less_what_the_process_holds_beside_it(device: FakeDevice) -> None:
    shared = SharedDevice(DeviceContext(CUDA), MemoryShare(2000))
    shared.begin()
    assert device.limit_mib() == pytest.approx(2000 - 400 - LOADED_LATER_MIB)
    assert shared.once_metrics() == {}, "what is set aside is no measurement"
    device.context_mib, device.reserved_mib = 520, 900
    device.update()
    shared.settle()
    assert device.limit_mib() == pytest.approx(2000 - 520), "kernels are loaded now"
    device.context_mib = 700
    device.update()
    shared.settle()
    assert len(device.fractions) == 2, "it is set once after the first step"
    assert shared.once_metrics() == {"vram/context_mib": pytest.approx(700)}
    shared.end()
    assert device.fractions[-1] == 1.0


def test_the_next_run_of_a_process_begins_with_what_is_known_by_then(device: FakeDevice) -> None:
    context = DeviceContext(CUDA)
    first = SharedDevice(context, MemoryShare(2000))
    first.begin()
    first.settle()
    first.end()
    SharedDevice(context, MemoryShare(1000)).begin()
    assert device.limit_mib() == pytest.approx(1000 - 400)
    assert device.gpu.used_mib == 500, "there is one context a process"


def test_without_a_limit_the_allocator_is_left_alone(device: FakeDevice) -> None:
    shared = SharedDevice(DeviceContext(CUDA), MemoryShare())
    shared.begin()
    shared.settle()
    shared.end()
    assert device.fractions == []


@pytest.mark.parametrize(("limit_mib", "fraction"), [(300, 0.0), (20_000, 1.0)])
def test_a_limit_is_never_outside_of_what_there_is(device: FakeDevice, limit_mib: float, fraction: float) -> None:
    SharedDevice(DeviceContext(CUDA), MemoryShare(limit_mib)).begin()
    assert device.fractions == [fraction]


def test_what_cannot_be_attributed_is_the_rise_of_the_device_when_the_context_is_created(device: FakeDevice) -> None:
    device.listed = False
    context = DeviceContext(CUDA)
    context.create()
    context.note_step()
    assert context.mib() == context.measured_mib() == 400 + LOADED_LATER_MIB, "later loads cannot be seen any more"


@pytest.mark.parametrize("neighbour_mib", [-500.0, 5000.0])
def test_a_rise_that_is_a_neighbours_doing_is_no_measurement(device: FakeDevice, neighbour_mib: float) -> None:
    device.listed, device.context_mib = False, 400 + neighbour_mib
    context = DeviceContext(CUDA)
    context.create()
    assert context.mib() == UNMEASURED_MIB and context.measured_mib() is None


def test_the_figure_of_another_process_with_our_id_is_not_taken(device: FakeDevice) -> None:
    context = DeviceContext(CUDA)
    context.create()
    device.reserved_mib = 900
    assert context.mib() == 400 + LOADED_LATER_MIB, "below our allocator it is not ours: the rise"


def test_without_a_driver_something_is_set_aside(device: FakeDevice) -> None:
    device.driver.without_driver = True
    context = DeviceContext(CUDA)
    assert context.mib() == UNMEASURED_MIB
    context.create()
    assert context.mib() == UNMEASURED_MIB


REFUSED = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.81 GiB")


def needed(device: FakeDevice, error: BaseException, limit_mib: float | None = 1500) -> float | None:
    shared = SharedDevice(DeviceContext(CUDA), MemoryShare(limit_mib))
    shared.begin()
    shared.settle()
    device.reserved_mib, device.peak_reserved_mib = 600, 1000
    device.update()
    return shared.needed_mib(error)


def test_what_a_run_needed_is_what_it_held_and_what_was_refused_and_its_context(device: FakeDevice) -> None:
    assert needed(device, REFUSED) == pytest.approx(600 + 2.005 * 1024 + 400)
    small = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    assert needed(device, small) == pytest.approx(1000 + 400), "it held more before"


def test_also_where_the_refusal_led_to_another_exception(device: FakeDevice) -> None:
    error = ValueError("no batch")
    error.__cause__ = REFUSED
    assert needed(device, error) == pytest.approx(600 + 2.005 * 1024 + 400)


def test_where_nobody_says_how_much_it_is_at_least_the_limit(device: FakeDevice) -> None:
    silent = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    assert needed(device, silent) == 1500
    assert needed(device, silent, limit_mib=1200) == pytest.approx(1400)
    assert needed(device, silent, limit_mib=None) == pytest.approx(1400)


def test_a_host_without_memory_says_nothing_of_the_gpu(device: FakeDevice) -> None:
    assert needed(device, MemoryError("no memory")) is None


def test_a_device_that_no_longer_answers_still_lets_a_run_end(device: FakeDevice) -> None:
    shared = SharedDevice(DeviceContext(CUDA), MemoryShare(1500))
    shared.begin()
    device.lost, device.listed = True, False
    device.update()
    assert shared.needed_mib(REFUSED) == pytest.approx(2.005 * 1024 + 400 + LOADED_LATER_MIB)


def test_a_share_is_read_from_a_reservation() -> None:
    values = {"cpus": 1.0, "gpus": 0.25, "limit_mib": 2000.0, "predicted_mib": 1800.0}
    assert MemoryShare.from_values(values) == MemoryShare(2000.0, 1800.0)
    assert MemoryShare.from_values({"cpus": 1.0}) == MemoryShare(None, None)
