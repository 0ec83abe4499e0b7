"""The stall watch: a worker that has given no sign of life for too long is killed, wherever it is, and counts as died.

Workers send beats to a small actor; it keeps their ages by its own clock, so that no clocks are compared between machines. A
thread of the driver asks it, and has a task kill what is silent on the worker's own node: a process that is stopped cannot obey
``ray.kill``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.ray_executor.silence import Attendance, Beat, Silence
from trainables.heartbeat import BEATS_IN_A_TIMEOUT, LONGEST_INTERVAL_S, Sender, kill_process

LONGEST_TICK_S = 5.0
_ANSWER_PATIENCE_S = 30.0

_logger = logging.getLogger(__name__)


class BeatRegister:
    """The actor: who sent the last beat of each run, and how long ago."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Sender, float]] = {}

    def beat(self, run: str, sender: Sender) -> None:
        self._last[run] = (sender, time.monotonic())

    def forget(self, run: str) -> None:
        self._last.pop(run, None)

    def ages(self) -> dict[str, Beat]:
        """For each run the sender of its last beat and the beat's age in seconds."""
        now = time.monotonic()
        return {run: Beat(sender, now - at) for run, (sender, at) in self._last.items()}


@dataclass(frozen=True)
class Watching:
    """What a worker needs to know to be watched; plain values for Tune's configuration."""

    register: str
    interval_s: float

    def to_dict(self) -> dict[str, Any]:
        return {"register": self.register, "interval_s": self.interval_s}


class StallWatch:
    """Watches as long as its context lasts, and kills a worker that is silent for ``timeout_s`` seconds."""

    def __init__(self, timeout_s: float, attendance: Attendance) -> None:
        self.timeout_s = timeout_s
        self._attendance = attendance
        self._tick_s = min(LONGEST_TICK_S, timeout_s / 4)
        self._silence = Silence(timeout_s, self._tick_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._killed: dict[str, float] = {}
        self._senders: dict[str, Sender] = {}
        self.watching = Watching(f"memsweep-beats-{uuid.uuid4().hex}", min(LONGEST_INTERVAL_S, timeout_s / BEATS_IN_A_TIMEOUT))
        self._register = self._new_register()

    def _new_register(self) -> Any:
        """Beside the driver. Not restarted by Ray, whose memory monitor kills first what can be restarted."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        name = self.watching.register
        return ray.remote(BeatRegister).options(name=name, num_cpus=0, max_restarts=0, scheduling_strategy=here).remote()

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(LONGEST_TICK_S)
        with contextlib.suppress(Exception):  # where Ray itself is gone there is nothing to end
            ray.kill(self._register)

    def take_kill(self, run: str) -> float | None:
        """The seconds of silence for which the worker of ``run`` was killed, once; None where it died of something else."""
        return self._killed.pop(run, None)

    def forget(self, run: str) -> None:
        """The run's worker ended or died; what comes next for it is another one's."""
        self._senders.pop(run, None)
        self._register.forget.remote(run)

    def senders(self) -> dict[str, Sender]:
        """The last known process of each run that was begun."""
        self._ages()
        return self._senders.copy()

    def _watch(self) -> None:
        while not self._ended.wait(self._tick_s):
            ages, attendance = self._ages(), self._attendance
            silent = self._silence.too_long(time.monotonic(), ages, attendance.expected(), attendance.alive_at)
            for run, seconds in silent.items():
                self._kill(run, ages[run].sender, seconds)

    def _ages(self) -> dict[str, Beat]:
        """Nothing where the register does not answer: nobody is judged then. A dead one is replaced, for the next runs."""
        try:
            ages = dict(ray.get(self._register.ages.remote(), timeout=_ANSWER_PATIENCE_S))
        except GetTimeoutError:
            return {}
        except RayError as error:
            _logger.warning("the register of beats died and is replaced: %s", error)
            with contextlib.suppress(Exception):  # such as Ray on its way down
                self._register = self._new_register()
            return {}
        except Exception as error:
            _logger.debug("the register of beats does not answer: %s", error)
            return {}
        self._senders |= {run: beat.sender for run, beat in ages.items()}
        return ages

    def _kill(self, run: str, sender: Sender, seconds: float) -> None:
        _logger.warning("%s has been silent for %.0f s: its process is killed", run, seconds)
        self._killed[run] = seconds
        there = NodeAffinitySchedulingStrategy(sender.node, soft=False)
        ray.remote(kill_process).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(sender)
