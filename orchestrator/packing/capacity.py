"""How much memory runs can be given on a GPU: that of the smallest which is usable, less a margin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.memory.inventory import visible_gpus

MARGIN_SHARE = 0.05
"""Of a GPU's memory. Contexts grow while kernels are loaded, the driver keeps tables of its own, and other programs come and go;
a run's own uncertainty is no part of it: that lies in its expectation."""
MARGIN_MIB = 512.0
"""The least of it: about what one more CUDA context takes."""
USABLE_SHARE = 0.5
"""A GPU of which others hold more than half is left alone: as the smallest it would halve what runs get everywhere."""


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """One GPU, or MIG slice, as it was found before any run began."""

    node: str
    """As Ray names the node."""
    uuid: str
    name: str
    """Of the model."""
    total_mib: float
    free_mib: float

    @property
    def is_usable(self) -> bool:
        """Whether others have left enough of it."""
        return self.free_mib >= USABLE_SHARE * self.total_mib and self.capacity_mib > 0

    @property
    def capacity_mib(self) -> float:
        """What runs may take of it together, their CUDA contexts included."""
        return self.free_mib - max(MARGIN_MIB, MARGIN_SHARE * self.total_mib)

    def __str__(self) -> str:
        return f"GPU {self.uuid} ({self.name}) on node {self.node}"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What each usable GPU can hold, in MiB."""

    capacity_mib: float
    """Of all runs together; classes are parts of it."""
    whole_mib: float
    """Of a run that has a GPU for itself."""
    of: str
    """Where the figure comes from, for people."""


def gpus_of_this_machine(node: str) -> list[GpuMemory]:
    """The GPUs that this process may use and of which the driver tells everything; ``node`` names the machine."""
    return [
        GpuMemory(node, gpu.uuid, gpu.name, gpu.total_mib, gpu.free_mib)
        for gpu in visible_gpus(os.environ)
        if gpu.total_mib is not None and gpu.free_mib is not None
    ]


def capacity_of(gpus: Sequence[GpuMemory], stated_mib: float | None = None) -> Capacity | None:
    """The least of what usable GPUs have and of what the search space states (``resources.gpu_memory_mib``, taken as it is);
    None where nothing is known."""
    smallest = min((gpu for gpu in gpus if gpu.is_usable), key=lambda gpu: gpu.capacity_mib, default=None)
    if smallest is not None and (stated_mib is None or smallest.capacity_mib <= stated_mib):
        return Capacity(smallest.capacity_mib, smallest.free_mib, str(smallest))
    return None if stated_mib is None else Capacity(stated_mib, stated_mib, "resources.gpu_memory_mib")


def unusable(gpus: Sequence[GpuMemory]) -> list[str]:
    """For each GPU that is left alone a sentence that names it and says why."""
    return [f"{gpu} is left alone: {_why(gpu)}" for gpu in gpus if not gpu.is_usable]


def _why(gpu: GpuMemory) -> str:
    if gpu.free_mib < USABLE_SHARE * gpu.total_mib:
        held = gpu.total_mib - gpu.free_mib
        return (
            f"other programs hold {held:,.0f} of its {gpu.total_mib:,.0f} MiB; end them, or keep it out of Ray with "
            "CUDA_VISIBLE_DEVICES"
        )
    return f"its {gpu.free_mib:,.0f} MiB are no more than the margin that is kept free"
