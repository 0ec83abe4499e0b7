"""Who is silent for too long, with every clock in the hands of the test."""

from __future__ import annotations

from orchestrator.ray_executor.silence import Attendance, Beat, Silence
from trainables.heartbeat import Sender

TIMEOUT, TICK = 40.0, 5.0
WORKER = Sender("node", 17, "1000")


def watched(seconds: list[float], age: dict[float, float], spoken: float | None = 0.0, alive: float = 0.0) -> list[float]:
    """The moments at which ``run`` was to be killed; ``age`` maps a moment to the age of the last beat then."""
    silence, kills = Silence(TIMEOUT, TICK), []
    for now in seconds:
        expected = {} if spoken is None else {"run": spoken}
        if silence.too_long(now, {"run": Beat(WORKER, age[now])}, expected, now - alive):
            kills.append(now)
    return kills


def every_tick(until: float) -> list[float]:
    return [TICK * i for i in range(1, int(until / TICK) + 1)]


def test_a_worker_is_killed_when_its_last_beat_is_older_than_the_timeout_and_not_before() -> None:
    ticks = every_tick(60)
    assert watched(ticks, {now: now for now in ticks}) == [40.0]


def test_a_worker_that_beats_is_never_killed() -> None:
    ticks = every_tick(600)
    assert watched(ticks, {now: 5.0 for now in ticks}) == []


def test_one_that_waits_for_the_driver_is_not_killed() -> None:
    ticks = every_tick(600)
    assert watched(ticks, {now: now for now in ticks}, spoken=None) == []


def test_the_time_counts_from_the_driver_s_last_word() -> None:
    ticks = every_tick(100)
    assert watched(ticks, {now: now + 500 for now in ticks}, spoken=30.0) == [70.0]


def test_a_process_that_survives_is_killed_again_after_another_timeout() -> None:
    ticks = every_tick(100)
    assert watched(ticks, {now: now for now in ticks}) == [40.0, 80.0]


def test_a_watch_that_was_suspended_restarts_the_clocks() -> None:
    ticks = [*every_tick(30), *(1000 + tick for tick in every_tick(60))]
    assert watched(ticks, {now: now for now in ticks}) == [1045.0]


def test_a_driver_that_is_held_up_makes_nobody_silent() -> None:
    ticks = every_tick(600)
    assert watched(ticks, {now: now for now in ticks}, alive=60.0) == []


def test_attendance_knows_who_is_at_work() -> None:
    attendance = Attendance()
    before = attendance.alive_at
    attendance.speak("a")
    attendance.speak("b")
    attendance.leave("a")
    attendance.leave("never there")
    attendance.turn()
    assert attendance.expected().keys() == {"b"} and attendance.alive_at >= before
