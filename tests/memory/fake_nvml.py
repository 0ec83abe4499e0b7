"""A stand-in for the module ``pynvml`` with several GPUs, whose figures a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from trainables.memory import MIB


class FakeNvmlError(Exception):
    pass


@dataclass
class Gpu:
    name: str | bytes = "A"
    total_mib: float = 8000
    used_mib: float | None = 500
    processes_mib: dict[int, float] = field(default_factory=dict)


@dataclass
class Machine:
    """GPUs by UUID, in the driver's order; MIG slices are found by name alone."""

    gpus: dict[str, Gpu]
    slices: dict[str, Gpu] = field(default_factory=dict)
    users: int = 0
    without_driver: bool = False
    NVMLError: type[Exception] = FakeNvmlError

    def nvmlInit(self) -> None:
        if self.without_driver:
            raise FakeNvmlError("no driver")
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return list(self.gpus)[index]

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return handle.encode()

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.gpus | self.slices:
            raise FakeNvmlError("not found")
        return uuid

    def nvmlDeviceGetName(self, handle: str) -> str | bytes:
        return (self.gpus | self.slices)[handle].name

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        gpu = (self.gpus | self.slices)[handle]
        if gpu.used_mib is None:
            raise FakeNvmlError("not supported")
        total, used = int(gpu.total_mib * MIB), int(gpu.used_mib * MIB)
        return SimpleNamespace(total=total, used=used, free=total - used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        processes = (self.gpus | self.slices)[handle].processes_mib
        return [SimpleNamespace(pid=pid, usedGpuMemory=int(mib * MIB)) for pid, mib in processes.items()]
