"""Who has been silent for too long: arithmetic on ages, without Ray or threads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from trainables.heartbeat import Sender

LATE_FACTOR = 3.0
LATE_S = 2.0
"""A watch that comes this much later than it should was itself held up, and with it perhaps all that it watches."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of a run: who gave it, and how many seconds ago."""

    sender: Sender
    age_s: float


class Attendance:
    """What the driver knows itself: which runs are being trained, and that it goes round. Times are monotonic, in s.

    Written by the control loop, read by the watch's thread.
    """

    def __init__(self) -> None:
        self._spoken_at: dict[str, float] = {}
        self.alive_at = time.monotonic()
        """When the control loop last went round."""

    def turn(self) -> None:
        self.alive_at = time.monotonic()

    def speak(self, run: str) -> None:
        """The worker of ``run`` was told to go on."""
        self._spoken_at[run] = time.monotonic()

    def leave(self, run: str) -> None:
        """Nobody is expected to work on ``run``."""
        self._spoken_at.pop(run, None)

    def expected(self) -> dict[str, float]:
        """The runs that are being trained, with the time of the driver's last word to each."""
        return self._spoken_at.copy()


class Silence:
    """Judges at every tick. A run is silent for the shortest of: the age of its last beat, the time since the driver last spoke
    to its worker (a worker that waits for the driver has nothing to say), and the time since the clocks were restarted."""

    def __init__(self, timeout_s: float, tick_s: float) -> None:
        self._timeout_s = timeout_s
        self._late_s = LATE_FACTOR * tick_s + LATE_S
        self._ticked_at: float | None = None
        self._restarted_at = float("-inf")
        self._killed: dict[Sender, float] = {}

    def too_long(self, now: float, beats: Mapping[str, Beat], expected: Mapping[str, float], alive: float) -> dict[str, float]:
        """The runs that are to be killed now, with their seconds of silence; each process is named once in a timeout.

        Args:
            now: a monotonic time in s, of the same clock as the times of ``expected`` and ``alive``.
            beats: the last beat of each run.
            expected: the runs whose workers are at work, with the time of the driver's last word to each.
            alive: when the control loop last went round; a driver that is held up cannot speak to workers that wait for it.
        """
        if (self._ticked_at is not None and now - self._ticked_at > self._late_s) or now - alive > self._late_s:
            self._restarted_at = now
        self._ticked_at = now
        silent = {}
        for run, beat in beats.items():
            since = max(expected.get(run, now), self._restarted_at, self._killed.get(beat.sender, float("-inf")))
            seconds = min(beat.age_s, now - since)
            if seconds >= self._timeout_s:
                silent[run] = seconds
                self._killed[beat.sender] = now
        return silent
