"""A stand-in for the module ``pynvml``: one device whose figures a test sets, and calls that can be made to fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from trainables.memory import MIB


class FakeNvmlError(Exception):
    pass


@dataclass
class FakeNvml:
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
