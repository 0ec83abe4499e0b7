"""Signs of life of a worker process, and the end of one that gives none; without Ray."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from trainables.notice import Notice

LONGEST_INTERVAL_S = 5.0
BEATS_IN_A_TIMEOUT = 4
"""A beat is told at most every 5 s, or every quarter of the timeout where that is shorter."""


class Sender(NamedTuple):
    """A process as nobody can mistake it: process ids are used again, ids with the time of the start are not."""

    node: str
    """Ray's id of the machine."""
    pid: int
    started: str


def _never(answer: Any) -> bool | None:
    return None


class Heartbeat:
    """Tells at most one beat an interval, and never fails: a run must not end because nobody listened to it.

    Args:
        tell: sends the beat of a run; what it returns is where the answer will be, None where none will come.
        interval_s: the shortest time between two beats, in s.
        clock: monotonic, in s.
        answer: takes what ``tell`` returned and says, without waiting, whether the process has to leave; None: no answer yet.

    Attributes:
        notice: given when the answer was that the process has to leave.
    """

    def __init__(
        self,
        tell: Callable[[str], Any],
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        answer: Callable[[Any], bool | None] = _never,
    ) -> None:
        self._tell = tell
        self._interval_s = interval_s
        self._clock = clock
        self._answer = answer
        self.notice = Notice()
        self._asked: Any = None
        self._run: str | None = None
        self._told_at = float("-inf")

    def begin(self, run: str) -> None:
        """From now on beats are those of ``run``; the first one is told at once."""
        self._run, self._told_at = run, float("-inf")
        self.beat()

    def end(self) -> None:
        """There is no run any more; beats are not told."""
        self._run = None

    def beat(self) -> None:
        """Something is moving."""
        self._listen()
        now = self._clock()
        if self._run is None or now - self._told_at < self._interval_s:
            return
        self._told_at = now
        with contextlib.suppress(Exception):
            self._asked = self._tell(self._run)

    def _listen(self) -> None:
        """An answer that cannot be had, as that of an actor that died, is as good as none."""
        if self._asked is None:
            return
        told: bool | None = False
        with contextlib.suppress(Exception):
            told = self._answer(self._asked)
        if told is not None:
            self._asked = None
        if told:
            self.notice.give()


@functools.cache
def start_of_process(pid: int) -> str:
    """When a process began, as text that is compared only on the same machine; empty when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name of the program stands in parentheses and may hold spaces and parentheses of its own.
            return stat.read_text().rpartition(")")[2].split()[19]
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()


def kill_process(sender: Sender) -> bool:
    """Kills the process, on its own machine, unless its id is another process's by now; returns whether it was there."""
    start_of_process.cache_clear()
    if not sender.started or start_of_process(sender.pid) != sender.started:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(sender.pid, signal.SIGKILL)
    return True
