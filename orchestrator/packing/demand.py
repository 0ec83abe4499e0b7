"""How many runs there are room for at once, and what they ask of a cluster together."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.packing.classes import RAY_UNITS, GpuClass


@dataclass(frozen=True, slots=True)
class Demand:
    """Of the runs that are in flight at once."""

    bundles: Mapping[GpuClass, int]
    """Runs by what each asks for, from the largest."""
    gpus: int
    """GPUs that hold them, as Ray places them one after another."""

    @property
    def at_once(self) -> int:
        return sum(self.bundles.values())

    def describe(self, cpus: float) -> str:
        """As a person would write it down, such as ``12 x {CPU: 1, GPU: 0.25}``; each run has ``cpus`` CPU cores."""
        return ", ".join(f"{count} x {{CPU: {cpus:g}, GPU: {size.fraction:g}}}" for size, count in self.bundles.items())


def demand_of(sizes: Iterable[GpuClass], most: int, gpus: int | None = None) -> Demand:
    """Of runs with these ``sizes``, in their order: ``most`` of them, or fewer where the next does not fit on ``gpus`` GPUs."""
    placement, bundles = Placement(gpus), Counter[GpuClass]()
    for size in itertools.islice(sizes, most):
        if not placement.place(size):
            break
        bundles[size] += 1
    return Demand(dict(sorted(bundles.items())), placement.used)


class Placement:
    """GPUs on which shares are placed as Ray does: each on the fullest one that has room for it.

    The runs that it places on some GPUs are at least as many as any packing would place of runs that each need one class more: so
    the tests find for all short lists.
    """

    def __init__(self, gpus: int | None = None) -> None:
        """``gpus``: so many; None: as many as it takes."""
        self._free: list[int] = []
        self._most = gpus

    @property
    def used(self) -> int:
        """GPUs on which there is something."""
        return len(self._free)

    def place(self, size: GpuClass) -> bool:
        """Whether there is room, which is then taken."""
        units = RAY_UNITS // size.divisor
        fitting = [index for index, free in enumerate(self._free) if free >= units]
        if fitting:
            self._free[min(fitting, key=lambda index: self._free[index])] -= units
        elif self._most is None or self.used < self._most:
            self._free.append(RAY_UNITS - units)
        else:
            return False
        return True


def in_turn(sizes: Sequence[Sequence[GpuClass]]) -> Iterator[GpuClass]:
    """Without end one of each sequence after another, since studies take turns; nothing where there are none."""
    cycles = [itertools.cycle(own) for own in sizes if own]
    while cycles:
        for cycle in cycles:
            yield next(cycle)
