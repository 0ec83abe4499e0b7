"""Memory of one GPU or MIG slice as the driver tells it (NVML), each counter on its own: what is unknown is None, never 0."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainables.memory.arithmetic import MIB


class NvmlDevice:
    """The counters of one device; made by :func:`open_device`, given back by :meth:`close`."""

    def __init__(self, nvml: Any, handle: Any, process_ids: frozenset[int]) -> None:
        self._nvml = nvml
        self._handle = handle
        self._process_ids = process_ids

    def process_mib(self) -> float | None:
        """Device memory of this process in MiB, or None where it cannot be attributed.

        In a container the driver may list the host's process ids, of which none is ours, and some drivers tell no bytes.
        """
        try:
            listed = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._nvml.NVMLError:
            return None
        ours = [process.usedGpuMemory for process in listed if process.pid in self._process_ids]
        return ours[0] / MIB if len(ours) == 1 and ours[0] else None

    def used_mib(self) -> float | None:
        """Memory in use on the whole device in MiB, co-tenants included, or None where the driver does not tell."""
        try:
            used = self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used
        except self._nvml.NVMLError:
            return None
        return used / MIB if used else None

    def close(self) -> None:
        """Ends this use of the NVML library, which counts its users."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


def open_device(uuids: Iterable[str], nvml: Any = None) -> NvmlDevice | None:
    """The first of ``uuids`` that the driver knows; None without library, driver or such a device.

    ``nvml`` is a module with the interface of ``pynvml``, which is the default.
    """
    nvml = begin_nvml(nvml)
    if nvml is None:
        return None
    for uuid in uuids:
        with contextlib.suppress(nvml.NVMLError):
            return NvmlDevice(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid), own_process_ids())
    nvml.nvmlShutdown()
    return None


def begin_nvml(nvml: Any = None) -> Any:
    """The library, ready for use until its ``nvmlShutdown``; None without library or driver."""
    nvml = nvml or _import_pynvml()
    if nvml is None:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def own_process_ids(status: Path = Path("/proc/self/status")) -> frozenset[int]:
    """The ids of this process in every process namespace that is visible from here."""
    known = {os.getpid()}
    with contextlib.suppress(OSError):
        for line in status.read_text(errors="replace").splitlines():
            if line.startswith("NSpid:"):
                known.update(map(int, line.split()[1:]))
    return frozenset(known)


def _import_pynvml() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
