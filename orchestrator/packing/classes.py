"""The sizes in which shares of a GPU are given: few, so that processes can be handed on from run to run."""

from __future__ import annotations

from dataclasses import dataclass

RAY_UNITS = 10_000
"""Ray counts resources in parts of one so small, and drops what is smaller."""
DIVISORS = (1, 2, 3, 4, 6, 8, 12, 16)
"""A process is handed on only between runs that ask for the same, so each of these keeps processes of its own."""


@dataclass(frozen=True, slots=True, order=True)
class GpuClass:
    """One part in ``divisor`` of a GPU."""

    divisor: int

    @property
    def fraction(self) -> float:
        """What Ray is asked for, cut off after four digits: ``divisor`` of them are never more than one GPU. Rounded, six times
        0.1667 would be."""
        return (RAY_UNITS // self.divisor) / RAY_UNITS

    @property
    def is_whole(self) -> bool:
        return self.divisor == 1

    def limit_mib(self, capacity_mib: float) -> float:
        """Its part of a GPU with ``capacity_mib`` MiB."""
        return capacity_mib / self.divisor

    def __str__(self) -> str:
        return "a whole GPU" if self.is_whole else f"1/{self.divisor} of a GPU"


CLASSES = tuple(map(GpuClass, DIVISORS))
"""From the largest to the smallest. Their sizes are multiples of 1/48 and what is cut off of sixteen is less than that, so that
classes which fit together for Ray fit together in memory too."""
WHOLE, SMALLEST = CLASSES[0], CLASSES[-1]


def class_of(need_mib: float, capacity_mib: float) -> GpuClass:
    """The smallest class that holds ``need_mib`` on a GPU with ``capacity_mib`` MiB; the whole GPU also where that does not."""
    return next((size for size in reversed(CLASSES) if need_mib <= size.limit_mib(capacity_mib)), WHOLE)
