"""The watch over workers: one that has given no sign of life for too long is killed, wherever it is, and counts as died; one
whose machine is about to be taken away is told so.

Workers send beats to a small actor; it keeps their ages by its own clock, so that no clocks are compared between machines. A
thread of the driver asks it, and has a task kill what is silent on the worker's own node: a process that is stopped cannot obey
``ray.kill``. What the thread hears of the nodes it tells to the actor, whose answers to the beats carry it on.
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

from orchestrator.ray_executor.nodes import Nodes, NodeSurvey, survey_nodes
from orchestrator.ray_executor.registers import start_register
from orchestrator.ray_executor.silence import Attendance, Beat, Silence
from trainables.heartbeat import BEATS_IN_A_TIMEOUT, LONGEST_INTERVAL_S, Sender, kill_process

LONGEST_TICK_S = 5.0
SECONDS_BETWEEN_LOOKS = 1.0
"""At the nodes and the last beats; who has been silent for too long is judged once a tick."""
_ANSWER_PATIENCE_S = 30.0

_logger = logging.getLogger(__name__)


class BeatRegister:
    """The actor: who sent the last beat of each run, and how long ago. ``leaving``: the nodes that will be taken away soon."""

    def __init__(self, leaving: frozenset[str] = frozenset()) -> None:
        self._last: dict[str, tuple[Sender, float]] = {}
        self._leaving = leaving

    def beat(self, run: str, sender: Sender) -> bool:
        """Returns whether the sender has to leave soon."""
        self._last[run] = (sender, time.monotonic())
        return sender.node in self._leaving

    def announce(self, leaving: frozenset[str]) -> None:
        """From now on these nodes are those that will be taken away soon."""
        self._leaving = leaving

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
    """Watches as long as its context lasts, and kills a worker that is silent for ``timeout_s`` seconds.

    Attributes:
        nodes: what is known of the nodes of the cluster, at most some seconds old.
    """

    def __init__(self, timeout_s: float, attendance: Attendance) -> None:
        self.timeout_s = timeout_s
        self._attendance = attendance
        self._tick_s = min(LONGEST_TICK_S, timeout_s / 4)
        self._silence = Silence(timeout_s, self._tick_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._killed: dict[str, float] = {}
        self._senders: dict[str, Sender] = {}
        self.nodes = Nodes(ray.get_runtime_context().get_node_id(), survey_nodes())
        self.watching = Watching(f"memsweep-beats-{uuid.uuid4().hex}", min(LONGEST_INTERVAL_S, timeout_s / BEATS_IN_A_TIMEOUT))
        self._register = self._new_register()

    def _new_register(self) -> Any:
        return start_register(BeatRegister, self.watching.register, self.nodes.leaving)

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

    def node_of(self, run: str) -> str | None:
        """The node of the last known process of ``run``; None where it is not known yet. Waits for nobody."""
        sender = self._senders.get(run)
        return None if sender is None else sender.node

    def _watch(self) -> None:
        judged_at = time.monotonic()
        while not self._ended.wait(min(SECONDS_BETWEEN_LOOKS, self._tick_s)):
            self._look_at_nodes()
            ages = self._ages()
            if time.monotonic() - judged_at >= self._tick_s:
                judged_at = time.monotonic()
                self._judge(ages)

    def _judge(self, ages: dict[str, Beat]) -> None:
        silent = self._silence.too_long(time.monotonic(), ages, self._attendance.expected(), self._attendance.alive_at)
        for run, seconds in silent.items():
            self._kill(run, ages[run].sender, seconds)

    def _look_at_nodes(self) -> None:
        """Where Ray does not answer, what was known stays so."""
        try:
            survey: NodeSurvey = survey_nodes()
        except Exception as error:  # such as Ray on its way down
            _logger.debug("Ray does not tell of its nodes: %s", error)
            return
        news = survey.leaving != self.nodes.leaving
        self.nodes.take(survey)
        if news:
            with contextlib.suppress(Exception):
                self._register.announce.remote(survey.leaving)

    def _ages(self) -> dict[str, Beat]:
        """Nothing where the register does not answer: nobody is judged then. A dead one is replaced, for the next runs."""
        try:
            ages = dict(ray.get(self._register.ages.remote(), timeout=_ANSWER_PATIENCE_S))
        except GetTimeoutError:
            return {}
        except RayError as error:
            self._replace_register(error)
            return {}
        except Exception as error:
            _logger.debug("the register of beats does not answer: %s", error)
            return {}
        self._senders = {run: beat.sender for run, beat in ages.items()}
        return ages

    def _replace_register(self, reason: RayError) -> None:
        try:
            self._register = self._new_register()
        except Exception as error:  # such as Ray on its way down
            _logger.debug("the register of beats died and cannot be replaced at the moment: %s", error)
        else:
            _logger.warning("the register of beats died and is replaced: %s", reason)

    def _kill(self, run: str, sender: Sender, seconds: float) -> None:
        _logger.warning("%s has been silent for %.0f s: its process is killed", run, seconds)
        self._killed[run] = seconds
        there = NodeAffinitySchedulingStrategy(sender.node, soft=False)
        ray.remote(kill_process).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(sender)
