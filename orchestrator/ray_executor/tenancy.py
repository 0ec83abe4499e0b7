"""Who is on which GPU, and which GPUs hold more than those who are there may hold; without Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trainables.heartbeat import Sender

TOLERANCE_MIB = 256.0
"""What a GPU may hold beyond what it should: the driver's own tables grow and shrink by some MiB, and each process by the kernels
that it loads late. Half of the least margin that packing leaves free."""
MOST_IDLE_MIB = 1024.0
"""What a process between two runs may hold: its CUDA context and loaded kernels, commonly 250 to 700 MiB."""
PATIENCE_S = 10.0
"""For a process to end and its memory to return; the driver takes about a second."""


class Place(NamedTuple):
    """A GPU of the cluster."""

    node: str
    """Ray's id of the node."""
    gpu: str
    """Its UUID; where that cannot be known, as Ray names it there."""

    def __str__(self) -> str:
        return f"GPU {self.gpu} of node {self.node}"


@dataclass(frozen=True, slots=True)
class Occupant:
    """A process on a GPU."""

    process: Sender
    limit_mib: float | None
    """What it may take while it runs something; None: everything."""
    label: str | None
    """The attempt of the run that it is at work on; None between two."""

    @property
    def most_mib(self) -> float:
        """What it may hold."""
        limit = math.inf if self.limit_mib is None else self.limit_mib
        return limit if self.label is not None else min(limit, MOST_IDLE_MIB)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """All that is known at a moment, and what happened since the last."""

    occupants: Mapping[Place, list[Occupant]]
    departed: list[tuple[Place, str]] = field(default_factory=list)
    """A run ended there."""
    stirred: set[Place] = field(default_factory=set)
    """Something left the GPU, or was refused it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is true of some GPUs at a moment."""

    used_mib: Mapping[Place, float]
    """Of the GPUs whose counter the driver tells, by all programs together."""
    gone: Collection[Sender]
    """Those of the processes that were asked about that are no more."""
    lost: Collection[str] = ()
    """Those of the nodes that were asked about that are no more."""


class Tenancy:
    """The account of who is where. Several processes may be on a GPU, and a process on several."""

    def __init__(self) -> None:
        self._occupants: dict[Sender, tuple[tuple[Place, ...], Occupant]] = {}
        self._closed: frozenset[Place] = frozenset()
        self._departed: list[tuple[Place, str]] = []
        self._stirred: set[Place] = set()

    def arrive(self, process: Sender, gpus: Iterable[str], label: str, limit_mib: float | None) -> bool:
        """A process is about to begin a run; False where it must not, because one of its GPUs is closed."""
        places = tuple(Place(process.node, gpu) for gpu in gpus)
        if closed := self._closed.intersection(places):
            self._stirred |= closed
            return False
        self._occupants[process] = (places, Occupant(process, limit_mib, label))
        return True

    def depart(self, label: str) -> None:
        """A run ended, or was given up; its process may stay."""
        for process, (places, occupant) in self._occupants.items():
            if occupant.label == label:
                self._occupants[process] = (places, Occupant(process, occupant.limit_mib, None))
                self._departed += [(place, label) for place in places]
                self._stirred.update(places)

    def forget(self, processes: Iterable[Sender]) -> None:
        """They are no more."""
        for process in processes:
            places, _ = self._occupants.pop(process, ((), None))
            self._stirred.update(places)

    def close(self, places: Iterable[Place]) -> None:
        """On these, and on these alone, nothing may begin from now on."""
        self._closed = frozenset(places)

    def take(self) -> Occupancy:
        """What is known; what happened is told once."""
        by_place: dict[Place, list[Occupant]] = {}
        for places, occupant in self._occupants.values():
            for place in places:
                by_place.setdefault(place, []).append(occupant)
        told = Occupancy(by_place, self._departed, self._stirred)
        self._departed, self._stirred = [], set()
        return told


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is new about a GPU."""

    kind: Literal["quarantined", "released"]
    label: str
    """Of the attempt that ended there when it began."""
    excess_mib: float
    """What nobody accounts for."""


@dataclass(slots=True)
class _Suspicion:
    label: str
    """Of the attempt that ended there last, or before too much was seen."""
    since: float | None = None
    """When too much was seen first."""


class Examination:
    """Judges the GPUs on which runs have ended. ``baselines`` is the memory in use on each before there were any runs, in MiB.

    What is there in excess is what goes beyond the baseline and what the occupants may hold: busy ones their limit, so that a
    neighbour's ups and downs are not taken for something left behind, idle ones what a process holds between two runs.
    """

    def __init__(
        self,
        baselines: Mapping[Place, float] | None = None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._baselines = dict(baselines or {})
        self._patience_s = patience_s
        self._clock = clock
        self._suspicions: dict[Place, _Suspicion] = {}
        self._quarantined: set[Place] = set()

    @property
    def due(self) -> Collection[Place]:
        """The GPUs whose memory should be read now."""
        return list(self._suspicions)

    def learn(self, baselines: Mapping[Place, float]) -> None:
        """Of GPUs that joined; those that are known stay as they are."""
        self._baselines = {**baselines, **self._baselines}

    def suspect(self, place: Place, label: str) -> None:
        """A run ended on it; where its baseline is unknown, nothing can be said of it."""
        before = self._suspicions.get(place)
        if place in self._baselines and (before is None or before.since is None):
            self._suspicions[place] = _Suspicion(label)

    def drop(self, place: Place) -> None:
        """It is no more."""
        self._suspicions.pop(place, None)
        self._quarantined.discard(place)

    def judge(self, place: Place, used_mib: float, occupants: Iterable[Occupant]) -> Verdict | None:
        """Compares a GPU that was :attr:`due`; None where nothing is new. As long as somebody there may take everything, nothing
        is in excess."""
        excess_mib = used_mib - self._baselines[place] - sum(occupant.most_mib for occupant in occupants)
        suspicion = self._suspicions[place]
        if excess_mib <= TOLERANCE_MIB:
            was_quarantined = place in self._quarantined
            self.drop(place)
            return Verdict("released", suspicion.label, excess_mib) if was_quarantined else None
        now = self._clock()
        suspicion.since = now if suspicion.since is None else suspicion.since
        if place in self._quarantined or now - suspicion.since < self._patience_s:
            return None
        self._quarantined.add(place)
        return Verdict("quarantined", suspicion.label, excess_mib)
