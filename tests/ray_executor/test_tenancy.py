"""Who is on which GPU, and what is left behind there: figures that a test sets, and a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ray_executor.tenancy import MOST_IDLE_MIB, PATIENCE_S, TOLERANCE_MIB, Examination, Occupant, Place, Tenancy
from trainables.heartbeat import Sender

GPU, OTHER = Place("n", "GPU-1"), Place("n", "GPU-2")
A, B = Sender("n", 1, "a"), Sender("n", 2, "b")
BASELINE = 300.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def suspected(clock: Clock) -> Examination:
    examination = Examination({GPU: BASELINE}, clock=clock)
    examination.suspect(GPU, "r1#1")
    return examination


def test_a_process_is_where_it_said_until_it_is_forgotten() -> None:
    tenancy = Tenancy()
    assert tenancy.arrive(A, ["GPU-1", "GPU-2"], "r1#1", 1000.0) and tenancy.arrive(B, ["GPU-2"], "r2#1", None)
    told = tenancy.take()
    assert told.occupants == {
        GPU: [Occupant(A, 1000.0, "r1#1")],
        OTHER: [Occupant(A, 1000.0, "r1#1"), Occupant(B, None, "r2#1")],
    }
    assert told.departed == [] and told.stirred == set()
    tenancy.depart("r1#1")
    told = tenancy.take()
    assert told.departed == [(GPU, "r1#1"), (OTHER, "r1#1")] and told.stirred == {GPU, OTHER}
    assert told.occupants[GPU] == [Occupant(A, 1000.0, None)], "the process is there, between two runs"
    assert tenancy.arrive(A, ["GPU-1", "GPU-2"], "r3#1", 2000.0)
    assert tenancy.take().occupants[GPU] == [Occupant(A, 2000.0, "r3#1")]
    tenancy.depart("r1#1")
    assert tenancy.take().departed == [], "it left long ago"
    tenancy.forget([A])
    told = tenancy.take()
    assert told.occupants == {OTHER: [Occupant(B, None, "r2#1")]} and told.stirred == {GPU, OTHER}


def test_nothing_begins_on_a_closed_gpu() -> None:
    tenancy = Tenancy()
    tenancy.close([GPU])
    assert not tenancy.arrive(A, ["GPU-2", "GPU-1"], "r1#1", None)
    assert tenancy.arrive(B, ["GPU-2"], "r2#1", None)
    told = tenancy.take()
    assert GPU not in told.occupants and told.stirred == {GPU}, "who is refused leaves room"
    tenancy.close([])
    assert tenancy.arrive(A, ["GPU-1"], "r1#2", None)


def test_memory_that_stays_beyond_the_patience_quarantines_once() -> None:
    clock = Clock()
    examination = suspected(clock)
    used = BASELINE + TOLERANCE_MIB + 1
    for clock.now in (0.0, PATIENCE_S / 2, PATIENCE_S - 0.1):
        assert examination.judge(GPU, used, []) is None
    clock.now = PATIENCE_S
    verdict = examination.judge(GPU, used, [])
    assert verdict is not None
    assert (verdict.kind, verdict.label, verdict.excess_mib) == ("quarantined", "r1#1", TOLERANCE_MIB + 1)
    clock.now = 1000.0
    assert examination.judge(GPU, used, []) is None and list(examination.due) == [GPU], "it is looked at until it is well"


def test_it_is_released_when_the_memory_returns() -> None:
    clock = Clock()
    examination = suspected(clock)
    examination.judge(GPU, 5000, [])
    clock.now = PATIENCE_S
    examination.judge(GPU, 5000, [])
    verdict = examination.judge(GPU, BASELINE, [])
    assert verdict is not None and (verdict.kind, verdict.label) == ("released", "r1#1")
    assert list(examination.due) == []


def test_memory_that_returns_in_time_is_no_news() -> None:
    clock = Clock()
    examination = suspected(clock)
    assert examination.judge(GPU, 5000, []) is None
    clock.now = PATIENCE_S - 1
    assert examination.judge(GPU, BASELINE, []) is None and list(examination.due) == []
    examination.suspect(GPU, "r2#1")
    clock.now = PATIENCE_S + 1
    assert examination.judge(GPU, 5000, []) is None, "another run's patience begins anew"


@pytest.mark.parametrize(
    ("occupants", "most_mib"),
    [
        ([], 0.0),
        ([Occupant(A, 4000.0, "r2#1")], 4000.0),
        ([Occupant(A, 4000.0, None)], MOST_IDLE_MIB),
        ([Occupant(A, 600.0, None)], 600.0),
        ([Occupant(A, None, None)], MOST_IDLE_MIB),
        ([Occupant(A, 4000.0, "r2#1"), Occupant(B, 2000.0, "r3#1")], 6000.0),
    ],
)
def test_what_our_own_processes_may_hold_is_theirs(occupants: list[Occupant], most_mib: float) -> None:
    clock = Clock()
    for beyond, quarantined in ((TOLERANCE_MIB, False), (TOLERANCE_MIB + 1, True)):
        examination = suspected(clock)
        examination.judge(GPU, BASELINE + most_mib + beyond, occupants)
        clock.now += PATIENCE_S
        examination.suspect(GPU, "r1#1")
        assert (examination.judge(GPU, BASELINE + most_mib + beyond, occupants) is not None) is quarantined


def test_beside_a_run_that_may_take_everything_nothing_is_in_excess() -> None:
    clock = Clock()
    examination = suspected(clock)
    assert examination.judge(GPU, 80_000, [Occupant(A, None, "r2#1")]) is None and list(examination.due) == []


def test_a_gpu_whose_beginnings_nobody_knows_is_never_suspected() -> None:
    examination = Examination({})
    examination.suspect(GPU, "r1#1")
    assert list(examination.due) == []
    examination.learn({GPU: BASELINE})
    examination.learn({GPU: 9000.0})
    examination.suspect(GPU, "r1#1")
    examination.judge(GPU, 5000, [])
    assert list(examination.due) == [GPU], "the first look counts"


def test_the_run_after_which_it_began_is_named_and_not_a_neighbour_that_ended_later() -> None:
    clock = Clock()
    examination = suspected(clock)
    examination.judge(GPU, 9000, [Occupant(B, 2000.0, "r2#1")])
    examination.suspect(GPU, "r2#1")
    clock.now = PATIENCE_S
    verdict = examination.judge(GPU, 9000, [])
    assert verdict is not None and verdict.label == "r1#1"


def test_a_gpu_that_is_no_more_is_not_looked_at() -> None:
    clock = Clock()
    examination = suspected(clock)
    examination.judge(GPU, 9000, [])
    clock.now = PATIENCE_S
    examination.judge(GPU, 9000, [])
    examination.drop(GPU)
    assert list(examination.due) == []


@given(
    limits=st.lists(st.floats(500, 20_000), max_size=6),
    share=st.floats(0, 1),
    idle=st.lists(st.floats(0, MOST_IDLE_MIB), max_size=3),
    leak=st.floats(0, 50_000),
)
def test_a_gpu_within_what_was_promised_is_never_quarantined_and_a_leak_is_seen_once_all_have_left(
    limits: list[float], share: float, idle: list[float], leak: float
) -> None:
    clock = Clock()
    busy = [Occupant(Sender("n", number, ""), limit, f"r{number}#1") for number, limit in enumerate(limits)]
    between = [Occupant(Sender("n", 100 + number, ""), None, None) for number in range(len(idle))]
    examination = suspected(clock)
    for _ in range(3):
        examination.suspect(GPU, "r9#1")
        assert examination.judge(GPU, BASELINE + share * sum(limits) + sum(idle), busy + between) is None
        clock.now += PATIENCE_S
    examination.suspect(GPU, "r9#1")
    examination.judge(GPU, BASELINE + leak, [])
    clock.now += PATIENCE_S
    examination.suspect(GPU, "r9#1")
    verdict = examination.judge(GPU, BASELINE + leak, [])
    assert (verdict is not None) == (leak > TOLERANCE_MIB) or abs(leak - TOLERANCE_MIB) < 1e-6
