"""A GPU that keeps memory, from the end of a run to the return of the memory: on nodes that are played."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from orchestrator.packing.capacity import GpuMemory
from orchestrator.ray_executor.tenancy import Examination, Occupancy, Occupant, Place, Reading
from orchestrator.ray_executor.warden import Warden
from trainables.heartbeat import Sender

BASELINE = 100.0
ONE, TWO = Place("n", "GPU-1"), Place("n", "GPU-2")
GPUS = [GpuMemory(place.node, place.gpu, "A", 8000, 8000 - BASELINE) for place in (ONE, TWO)]
WORKER = Sender("n", 7, "s")


@dataclass
class Played:
    """The memory and the free shares of two GPUs, and a clock."""

    used_mib: dict[Place, float] = field(default_factory=lambda: dict.fromkeys((ONE, TWO), BASELINE))
    free: dict[Place, float] = field(default_factory=lambda: dict.fromkeys((ONE, TWO), 1.0))
    gone: set[Sender] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    reads: int = 0
    now: float = 0.0

    def read(self, places: Collection[Place], processes: Collection[Sender]) -> Reading:
        self.reads += 1
        told = {place: self.used_mib[place] for place in places if place.node not in self.lost}
        return Reading(told, self.gone & set(processes), self.lost)

    def take(self, node: str, share: float) -> Taken | None:
        place = next((place for place, free in self.free.items() if place.node == node and free >= share), None)
        if place is None:
            return None
        self.free[place] -= share
        return Taken(self, place, share)

    def warden(self, left_alone: list[GpuMemory] | None = None) -> Warden:
        examination = Examination(patience_s=10, clock=lambda: self.now)
        return Warden(GPUS, left_alone or [], self.read, self.take, examination)


@dataclass
class Taken:
    played: Played
    place: Place
    share: float

    def release(self) -> None:
        self.played.free[self.place] += self.share


def turn(warden: Warden, occupancy: Occupancy) -> Collection[Sender]:
    gone = warden.examine(occupancy)
    warden.tighten()
    return gone


def left(place: Place, *occupants: Occupant) -> Occupancy:
    """A run has just ended there."""
    return Occupancy({place: list(occupants)}, [(place, "r1#1")], {place})


QUIET = Occupancy({})


def quarantined(played: Played, place: Place = TWO) -> Warden:
    warden = played.warden()
    played.used_mib[place] = 3000.0
    turn(warden, left(place))
    played.now += 10
    turn(warden, QUIET)
    return warden


def test_as_long_as_no_run_has_ended_nobody_is_asked() -> None:
    played = Played()
    turn(played.warden(), Occupancy({ONE: [Occupant(WORKER, None, "r1#1")]}))
    assert played.reads == 0


def test_a_gpu_that_gives_its_memory_back_is_asked_once() -> None:
    played = Played()
    warden = played.warden()
    turn(warden, left(ONE, Occupant(WORKER, 4000.0, None)))
    turn(warden, QUIET)
    assert played.reads == 1 and not warden.closed and not list(warden.warnings())


def test_a_gpu_that_keeps_memory_is_named_closed_and_held_until_it_returns() -> None:
    played = Played()
    warden = quarantined(played)
    ((label, text),) = warden.warnings()
    assert label == "r1#1" and "GPU GPU-2 of node n holds 2,900 MiB" in text and "of the others, 1 still get runs" in text
    assert list(warden.closed) == [TWO] and played.free == {ONE: 1.0, TWO: 0.0} and warden.held_gpus == 1.0
    turn(warden, QUIET)
    assert not list(warden.warnings()), "it is told once"
    played.used_mib[TWO] = BASELINE
    turn(warden, QUIET)
    assert list(warden.warnings()) == [("r1#1", "the memory of GPU GPU-2 of node n has returned: it gets runs again")]
    assert not warden.closed and played.free == {ONE: 1.0, TWO: 1.0}


def test_what_a_neighbour_leaves_on_it_is_held_when_the_neighbour_has_left() -> None:
    played = Played()
    played.free[TWO] = 0.5
    warden = quarantined(played)
    assert warden.held_gpus == 0.5
    played.free[TWO] += 0.5
    turn(warden, QUIET)
    assert warden.held_gpus == 0.5, "nobody said that it left"
    turn(warden, Occupancy({}, [], {TWO}))
    assert warden.held_gpus == 1.0 and played.free == {ONE: 1.0, TWO: 0.0}


def test_a_process_that_ended_accounts_for_nothing_any_more() -> None:
    played = Played()
    warden, idle = played.warden(), Occupant(WORKER, 4000.0, None)
    played.used_mib[ONE] = BASELINE + 900
    assert not turn(warden, left(ONE, idle)), "what an idle process may hold"
    played.gone = {WORKER}
    assert turn(warden, left(ONE, idle)) == {WORKER}
    played.now += 10
    turn(warden, QUIET)
    assert list(warden.closed) == [ONE]


def test_where_all_gpus_are_closed_it_says_that_runs_wait() -> None:
    played = Played()
    warden = played.warden(left_alone=[GPUS[0]])
    turn(warden, QUIET)
    assert list(warden.closed) == [ONE] and played.free == {ONE: 0.0, TWO: 1.0}, "one that others fill is held from the beginning"
    played.used_mib[TWO] = 3000.0
    turn(warden, left(TWO))
    played.now += 10
    turn(warden, QUIET)
    ((_, text),) = warden.warnings()
    assert "no other GPU is left, so that runs wait" in text


def test_a_gpu_that_left_with_its_node_is_forgotten() -> None:
    played = Played()
    warden = quarantined(played)
    played.lost = {"n"}
    turn(warden, QUIET)
    assert not warden.closed and warden.held_gpus == 0
    turn(warden, QUIET)
    assert played.reads == 3


def test_gpus_that_join_are_known_by_what_they_held_then() -> None:
    played, joined = Played(), Place("m", "GPU-3")
    warden = played.warden()
    warden.learn([GpuMemory("m", "GPU-3", "A", 8000, 5000)])
    played.used_mib[joined] = 3000.0
    turn(warden, left(joined))
    assert [gpu.uuid for gpu in warden.gpus] == ["GPU-1", "GPU-2", "GPU-3"] and not warden.closed


def test_in_the_end_everything_is_let_go() -> None:
    played = Played()
    warden = quarantined(played)
    warden.release()
    assert played.free == {ONE: 1.0, TWO: 1.0}


def test_what_a_process_had_is_looked_for_when_ray_has_had_time_to_take_it_back() -> None:
    played = Played()
    warden = Warden(GPUS, [GPUS[0]], played.read, played.take, settle_s=3600)
    assert not warden.is_tight
    warden.tighten()
    assert warden.is_tight and warden.held_gpus == 1.0, "what is free from the beginning needs no waiting"
    turn(warden, Occupancy({}, stirred={ONE, TWO}))
    assert not warden.is_tight
