"""What a process holds on its GPU beside the allocator: the CUDA context, loaded kernels, handles of libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch

from trainables.memory import cuda
from trainables.memory.nvml import NvmlDevice, open_device

UNMEASURED_MIB = 640.0
"""Taken where the driver tells nothing: contexts of 250 to 550 MiB are common, and kernels come on top. Too much costs a run a
little room, too little costs its neighbour."""
LOADED_LATER_MIB = 192.0
"""Added until a process has done a step: kernels and library handles are loaded when they are first called."""
_PLAUSIBLE_MIB = (64.0, 2048.0)
"""A rise of the device's memory outside of these is a neighbour that took or gave back memory at the same moment."""


class DeviceContext:
    """That of this process on the CUDA ``device``; one for as long as the process lives."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._uuids: list[str] | None = None
        self._has_stepped = False
        self._rise_mib: float | None = None

    def create(self) -> None:
        """Creates the CUDA context unless that was done, and sees by how much the memory in use on the device rises."""
        if self._uuids is not None:
            return
        uuids = cuda.device_uuids(self.device)
        before = _used_mib(uuids)
        cuda.create_context(self.device)
        after = _used_mib(uuids)
        self._rise_mib = None if before is None or after is None else after - before
        self._uuids = uuids

    def note_step(self) -> None:
        """The process has done a step, and has loaded what it needs for one."""
        self._has_stepped = True

    def measured_mib(self) -> float | None:
        """MiB that the process holds beside its allocator once it has done a step; None where nobody can say, or not yet.

        By the driver's figure of this process where that can be attributed, else by the rise at :meth:`create` with
        :data:`LOADED_LATER_MIB`.
        """
        attributed = self._attributed_mib()
        if attributed is not None:
            return attributed if self._has_stepped else None
        if self._rise_mib is not None and _PLAUSIBLE_MIB[0] <= self._rise_mib <= _PLAUSIBLE_MIB[1]:
            return self._rise_mib + LOADED_LATER_MIB
        return None

    def mib(self) -> float:
        """The same for certain: what is to be set aside where nothing is measured."""
        attributed = None if self._has_stepped else self._attributed_mib()
        if attributed is not None:
            return attributed + LOADED_LATER_MIB
        measured = self.measured_mib()
        return UNMEASURED_MIB if measured is None else measured

    def _attributed_mib(self) -> float | None:
        """Less than nothing is the figure of another process, which has our id in a namespace of its own."""
        with _opened(self._uuids or ()) as nvml:
            process = nvml.process_mib() if nvml else None
        beside = None if process is None else process - cuda.reserved_mib(self.device)
        return beside if beside is not None and beside > 0 else None


def _used_mib(uuids: Iterable[str]) -> float | None:
    with _opened(uuids) as nvml:
        return nvml.used_mib() if nvml else None


@contextlib.contextmanager
def _opened(uuids: Iterable[str]) -> Iterator[NvmlDevice | None]:
    nvml = open_device(uuids)
    try:
        yield nvml
    finally:
        if nvml is not None:
            nvml.close()
