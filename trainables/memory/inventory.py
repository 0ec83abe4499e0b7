"""The GPUs of a machine, or those that CUDA_VISIBLE_DEVICES names, as NVML knows them: by UUID, each counter on its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.memory.arithmetic import MIB
from trainables.memory.nvml import begin_nvml

_MIG = "MIG-"


@dataclass(frozen=True, slots=True)
class InstalledGpu:
    """A GPU or MIG slice, and its memory at the moment; what the driver does not tell is None, of the name empty."""

    uuid: str
    name: str
    total_mib: float | None
    free_mib: float | None


def visible_gpus(environment: Mapping[str, str], nvml: Any = None) -> list[InstalledGpu]:
    """The GPUs that a process with ``environment`` may use: all of them without CUDA_VISIBLE_DEVICES, else those that it names,
    by index, UUID, beginning of a UUID, or name of a MIG slice; nothing without library or driver.

    CUDA counts in an order of its own unless CUDA_DEVICE_ORDER is PCI_BUS_ID. Where GPUs are unlike, an index then leaves open
    which one it means: all of them are told, of which it is one.

    ``nvml`` is a module with the interface of ``pynvml``, which is the default.
    """
    nvml = begin_nvml(nvml)
    if nvml is None:
        return []
    try:
        return [_described(nvml, uuid) for uuid in _visible_uuids(nvml, environment)]
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def name_of_gpu(entry: str, environment: Mapping[str, str], nvml: Any = None) -> str:
    """The UUID of the GPU that ``entry`` of CUDA_VISIBLE_DEVICES means; ``entry`` itself where that is not certain."""
    found = visible_gpus({**environment, "CUDA_VISIBLE_DEVICES": entry}, nvml)
    return found[0].uuid if len(found) == 1 else entry


def used_mib(uuids: Iterable[str], nvml: Any = None) -> dict[str, float]:
    """The memory in use in MiB on each device of ``uuids`` whose counter the driver tells, by UUID."""
    nvml = begin_nvml(nvml)
    if nvml is None:
        return {}
    try:
        found = {uuid: _memory(nvml, uuid) for uuid in uuids}
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return {uuid: memory.used / MIB for uuid, memory in found.items() if memory is not None and memory.used}


def _visible_uuids(nvml: Any, environment: Mapping[str, str]) -> list[str]:
    installed = _installed_uuids(nvml)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return installed
    entries = [entry.strip() for entry in visible.split(",")]
    indices = {int(entry) for entry in entries if entry.isdecimal()}
    in_driver_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({_name(nvml, uuid) for uuid in installed}) <= 1
    if indices and not in_driver_order and not indices >= set(range(len(installed))):
        return installed
    named = (uuid for entry in entries for uuid in _named(entry, installed))
    return list(dict.fromkeys(named))


def _named(entry: str, installed: list[str]) -> list[str]:
    """The UUID that an entry of CUDA_VISIBLE_DEVICES means; none where it means no GPU that is here."""
    if entry.startswith(_MIG):
        return [entry]
    if entry.isdecimal():
        return installed[int(entry) : int(entry) + 1]
    beginning = [uuid for uuid in installed if entry and uuid.startswith(entry)]
    return beginning if len(beginning) == 1 else []


def _installed_uuids(nvml: Any) -> list[str]:
    found = []
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):  # one that has fallen off the bus
                found.append(_text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))))
    return found


def _described(nvml: Any, uuid: str) -> InstalledGpu:
    memory = _memory(nvml, uuid)
    if memory is None or not memory.total:
        return InstalledGpu(uuid, _name(nvml, uuid), None, None)
    return InstalledGpu(uuid, _name(nvml, uuid), memory.total / MIB, memory.free / MIB)


def _memory(nvml: Any, uuid: str) -> Any:
    try:
        return nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError:
        return None


def _name(nvml: Any, uuid: str) -> str:
    try:
        return _text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByUUID(uuid)))
    except nvml.NVMLError:
        return ""


def _text(told: str | bytes) -> str:
    """Earlier versions of the library tell bytes."""
    return told.decode(errors="replace") if isinstance(told, bytes) else told
