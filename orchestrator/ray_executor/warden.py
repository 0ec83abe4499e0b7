"""What follows when a GPU does not give its memory back: it is guarded, closed and named, until it does; without Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from orchestrator.packing.capacity import GpuMemory
from orchestrator.ray_executor.guard import Guard, Hold
from orchestrator.ray_executor.tenancy import Examination, Occupancy, Place, Reading, Verdict
from trainables.heartbeat import Sender


class Warden:
    """``gpus`` is what was surveyed before the first run, ``left_alone`` those of them that shall get no runs at all.

    ``settle_s`` is how long Ray may take to give back what a process had that has just ended.

    ``read`` reads memory and tells which processes have ended; ``take`` is that of :class:`Guard`. :meth:`turn` is called by one
    thread; :meth:`warnings`, :attr:`gpus` and :attr:`held_gpus` may be asked by others.
    """

    def __init__(
        self,
        gpus: Iterable[GpuMemory],
        left_alone: Iterable[GpuMemory],
        read: Callable[[Collection[Place], Collection[Sender]], Reading],
        take: Callable[[str, float], Hold | None],
        examination: Examination | None = None,
        settle_s: float = 0.0,
    ) -> None:
        self._examination = examination or Examination()
        self._settle_s = settle_s
        self._read = read
        self._take = take
        self._gpus: tuple[GpuMemory, ...] = ()
        self._warnings: deque[tuple[str, str]] = deque()
        self.learn(gpus)
        self._guards = {place: Guard(place, take) for place in map(_place, left_alone)}
        self._loose = dict.fromkeys(self._guards, float("-inf"))
        """The guarded GPUs of which something may have become free, and since when."""

    @property
    def gpus(self) -> Sequence[GpuMemory]:
        """All that are known; another object once there are more."""
        return self._gpus

    @property
    def closed(self) -> Collection[Place]:
        """Where nothing may begin."""
        return list(self._guards)

    @property
    def held_gpus(self) -> float:
        """How much of the cluster's GPUs is held free of runs."""
        return sum(guard.share for guard in list(self._guards.values()))

    @property
    def is_tight(self) -> bool:
        """Whether all that is free of the guarded GPUs is held, as far as is known."""
        return not self._loose

    def warnings(self) -> Iterator[tuple[str, str]]:
        """What is to be told of attempts, by their label, each once; nothing nearly always."""
        while self._warnings:
            yield self._warnings.popleft()

    def learn(self, gpus: Iterable[GpuMemory]) -> None:
        """GPUs, as they were found before runs began on them."""
        new = tuple(gpus)
        self._gpus += new
        self._examination.learn({_place(gpu): gpu.total_mib - gpu.free_mib for gpu in new})

    def examine(self, occupancy: Occupancy) -> Collection[Sender]:
        """Compares the GPUs on which runs have ended with what should be on them; returns the processes that are no more."""
        for place, label in occupancy.departed:
            self._examination.suspect(place, label)
        self._loose |= dict.fromkeys(occupancy.stirred & self._guards.keys(), time.monotonic())
        due = self._examination.due
        if not due:
            return ()
        reading = self._read(due, {occupant.process for place in due for occupant in occupancy.occupants.get(place, [])})
        for place in due:
            if place.node in reading.lost:
                self._lose(place)
            elif place in reading.used_mib:
                there = [occupant for occupant in occupancy.occupants.get(place, []) if occupant.process not in reading.gone]
                self._follow(place, self._examination.judge(place, reading.used_mib[place], there))
        return reading.gone

    def tighten(self) -> None:
        """Holds what has become free of the guarded GPUs; takes seconds where there are any. Ray hears of the end of a process
        a moment later, so that this waits for ``settle_s``."""
        settled = [place for place, since in self._loose.items() if time.monotonic() - since >= self._settle_s]
        for place in settled:
            self._guards[place].tighten()
            self._loose.pop(place)

    def release(self) -> None:
        """Lets go of everything."""
        for guard in self._guards.values():
            guard.release()

    def _follow(self, place: Place, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        if verdict.kind == "quarantined":
            self._guards[place] = Guard(place, self._take)
            self._loose[place] = float("-inf")
            text = _warning(place, verdict.excess_mib, len(self._gpus) - len(self._guards))
        else:
            self._open(place)
            text = f"the memory of {place} has returned: it gets runs again"
        self._warnings.append((verdict.label, text))

    def _lose(self, place: Place) -> None:
        """Its node is no more."""
        self._examination.drop(place)
        if place in self._guards:
            self._open(place)

    def _open(self, place: Place) -> None:
        self._loose.pop(place, None)
        self._guards.pop(place).release()


def _place(gpu: GpuMemory) -> Place:
    return Place(gpu.node, gpu.uuid)


def _warning(place: Place, excess_mib: float, left: int) -> str:
    others = f"of the others, {left} still get runs" if left > 0 else "no other GPU is left, so that runs wait"
    return (
        f"{place} holds {excess_mib:,.0f} MiB that belong to no run any more. It gets no runs until they are free; {others}. "
        "`nvidia-smi` on that node lists the processes that hold memory: end those of no use, and the GPU comes back by itself"
    )
