"""What one run is given, and who decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.packing.capacity import GpuMemory
from trainables.training.request import RunRequest


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one run asks of Ray, and how much of its GPU's memory is its own."""

    cpus: float
    gpus: float
    """GPUs, or the share of one."""
    limit_mib: float | None = None
    """MiB of its GPU that the run's process may take, CUDA context included; None: no limit."""
    predicted_mib: float | None = None
    """MiB that it is expected to take, CUDA context included; None where nothing is expected."""

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for the worker."""
        return {"cpus": self.cpus, "gpus": self.gpus, "limit_mib": self.limit_mib, "predicted_mib": self.predicted_mib}


class Reserver(Protocol):
    """Decides what each run is given; called from the control loop."""

    def is_ready(self, request: RunRequest) -> bool:
        """Whether :meth:`reserve` answers at once; where it would take a while, what it needs is worked out meanwhile."""
        ...

    def reserve(self, request: RunRequest, needed_mib: float | None = None) -> Reservation:
        """For one attempt of a run; ``needed_mib`` is what an earlier one would have needed when memory ran out."""
        ...

    def learn(self, request: RunRequest, metrics: Mapping[str, float]) -> None:
        """A run has told what it measured, so far or at its end."""
        ...

    def fits(self, needed_mib: float) -> bool:
        """Whether a run that needs so much, and had less, can be given it."""
        ...

    def joined(self, gpus: Sequence[GpuMemory]) -> None:
        """The GPUs that are known by now; some may be new."""
        ...


class FixedReserver:
    """Gives every run the same; nothing is known of memory."""

    def __init__(self, cpus: float, gpus: float) -> None:
        self._reservation = Reservation(cpus, gpus)

    def is_ready(self, request: RunRequest) -> bool:
        return True

    def reserve(self, request: RunRequest, needed_mib: float | None = None) -> Reservation:
        return self._reservation

    def learn(self, request: RunRequest, metrics: Mapping[str, float]) -> None:
        """Nothing follows from it."""

    def fits(self, needed_mib: float) -> bool:
        """The same again would run out again."""
        return False

    def joined(self, gpus: Sequence[GpuMemory]) -> None:
        """Runs get there what they get elsewhere."""
