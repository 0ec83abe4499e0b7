"""NVML with its ways of knowing less than it says: containers, zero bytes, missing counters, no driver, MIG, co-tenants."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainables.memory import MIB
from trainables.memory.cuda import candidate_uuids
from trainables.memory.nvml import open_device, own_process_ids
from trainables.memory.sampler import NvmlSampler

OURS = os.getpid()
HOST_A, HOST_B = 2**22 + 1, 2**22 + 2  # above every id that the kernel gives, so nobody here has them


class FakeNvmlError(Exception):
    pass


@dataclass
class FakeNvml:
    """A stand-in for the module ``pynvml``: one device whose figures a test sets, and calls that can be made to fail."""

    uuid: str = "GPU-1"
    used_mib: float = 1000
    processes_mib: dict[int, float | None] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    users: int = 0
    NVMLError: type[Exception] = FakeNvmlError

    def nvmlInit(self) -> None:
        self._check("nvmlInit")
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != self.uuid:
            raise FakeNvmlError("not found")
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        assert handle == self.uuid
        self._check("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(used=int(self.used_mib * MIB))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        assert handle == self.uuid
        self._check("nvmlDeviceGetComputeRunningProcesses")
        return [SimpleNamespace(pid=pid, usedGpuMemory=_bytes(used)) for pid, used in self.processes_mib.items()]

    def _check(self, call: str) -> None:
        if call in self.failing:
            raise FakeNvmlError(call)


def _bytes(mebibytes: float | None) -> int | None:
    return None if mebibytes is None else int(mebibytes * MIB)


def metrics_of_run(nvml: FakeNvml, used_mib: float, processes_mib: dict[int, float | None], reserved_mib: float = 0.0) -> dict:
    """What is recorded where the device rises to the given figures and falls back before the end."""
    device = open_device([nvml.uuid], nvml)
    assert device is not None
    sampler = NvmlSampler(device, interval_s=60)
    sampler.start()
    at_start = nvml.used_mib, nvml.processes_mib
    nvml.used_mib, nvml.processes_mib = used_mib, processes_mib
    sampler.sample()
    nvml.used_mib, nvml.processes_mib = at_start
    recorded = sampler.metrics(reserved_mib)
    sampler.stop()
    return recorded


def test_our_process_is_attributed_at_its_peak():
    assert metrics_of_run(FakeNvml(processes_mib={OURS: 500}), 1300, {OURS: 800}) == {"vram/peak_process_mib": 800}


def test_co_tenants_do_not_count_as_ours():
    nvml = FakeNvml(processes_mib={HOST_A: 100, OURS: 500, HOST_B: 300})
    assert metrics_of_run(nvml, 9000, {HOST_A: 7000, OURS: 620, HOST_B: 300}) == {"vram/peak_process_mib": 620}


@pytest.mark.parametrize(
    "processes_mib",
    [
        pytest.param({HOST_A: 500, HOST_B: 700}, id="host-process-ids"),
        pytest.param({}, id="nobody-listed"),
        pytest.param({OURS: 0}, id="zero-bytes"),
        pytest.param({OURS: None}, id="bytes-not-available"),
    ],
)
def test_what_cannot_be_attributed_is_the_rise_of_the_device(processes_mib: dict[int, float | None]):
    assert metrics_of_run(FakeNvml(), 1300, processes_mib) == {"vram/peak_device_delta_mib": 300}


def test_a_process_below_our_allocators_peak_is_not_ours():
    recorded = metrics_of_run(FakeNvml(), 1300, {OURS: 200}, reserved_mib=250)
    assert recorded == {"vram/peak_device_delta_mib": 300}


def test_a_device_that_only_fell_has_risen_by_nothing():
    assert metrics_of_run(FakeNvml(used_mib=1000), 400, {}) == {"vram/peak_device_delta_mib": 0}


def test_each_missing_counter_leaves_the_other():
    no_processes = FakeNvml(failing={"nvmlDeviceGetComputeRunningProcesses"})
    assert metrics_of_run(no_processes, 1300, {OURS: 800}) == {"vram/peak_device_delta_mib": 300}
    no_device_memory = FakeNvml(failing={"nvmlDeviceGetMemoryInfo"})
    assert metrics_of_run(no_device_memory, 1300, {OURS: 800}) == {"vram/peak_process_mib": 800}


def test_without_any_counter_nothing_is_recorded():
    both = {"nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMemoryInfo"}
    assert metrics_of_run(FakeNvml(failing=both), 1300, {OURS: 800}) == {}
    assert metrics_of_run(FakeNvml(used_mib=0), 0, {OURS: 0}) == {}


def test_without_driver_or_device_there_is_nothing_to_sample():
    assert open_device(["GPU-1"], FakeNvml(failing={"nvmlInit"})) is None
    other = FakeNvml(uuid="GPU-2")
    assert open_device(["GPU-1", "MIG-1"], other) is None
    assert other.users == 0


def test_without_library_there_is_nothing_to_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_device(["GPU-1"]) is None


def test_the_library_is_given_back():
    nvml = FakeNvml()
    metrics_of_run(nvml, 1300, {})
    assert nvml.users == 0


@pytest.mark.parametrize(
    ("index", "visible_devices", "expected"),
    [
        (0, "", ["GPU-abc", "MIG-abc"]),
        (0, "3", ["GPU-abc", "MIG-abc"]),
        (0, "GPU-abc", ["GPU-abc", "MIG-abc"]),
        (0, "MIG-def", ["MIG-def"]),
        (1, "MIG-def, MIG-GPU-abc/2/0", ["MIG-GPU-abc/2/0"]),
        (1, "MIG-def", ["GPU-abc", "MIG-abc"]),
    ],
)
def test_devices_are_named_by_uuid(index: int, visible_devices: str, expected: list[str]):
    assert candidate_uuids("abc", index, visible_devices) == expected


def test_a_mig_slice_is_measured_as_a_device_of_its_own():
    nvml = FakeNvml(uuid="MIG-abc", used_mib=10)
    device = open_device(candidate_uuids("abc", 0, ""), nvml)
    assert device is not None
    assert device.used_mib() == 10


def test_a_process_is_known_by_its_id_in_every_visible_namespace(tmp_path: Path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nNSpid:\t81234\t137\n")
    assert own_process_ids(status) == {OURS, 81234, 137}
    assert own_process_ids(tmp_path / "absent") == {OURS}


def test_a_peak_between_start_and_end_is_seen_by_the_thread():
    nvml = FakeNvml(processes_mib={OURS: 500})
    device = open_device(["GPU-1"], nvml)
    assert device is not None
    threads_before = threading.active_count()
    sampler = NvmlSampler(device, interval_s=0.005)
    sampler.start()
    nvml.processes_mib = {OURS: 800}
    time.sleep(0.2)
    nvml.processes_mib = {OURS: 500}
    assert sampler.metrics() == {"vram/peak_process_mib": 800}
    sampler.stop()
    assert threading.active_count() == threads_before
