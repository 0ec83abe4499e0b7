"""How often the processes of each run died, and whether it is begun again.

A process that died on its own costs the run one of few lives. One that was lost with its machine costs none: machines that are
taken away at any time are cheap, and nothing is wrong with the run. Ray often says at first only that a process is gone, and some
seconds later that its machine is; so a death is counted when it is known what it was, and the run goes on elsewhere meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.ray_executor.death import Death
from orchestrator.ray_executor.nodes import NOTICED_S, Nodes

RESTARTS_AFTER_DEATH = 3
PROCESSES_LOST_BEFORE_A_BEGIN = 10
"""A process that dies while it is made, or given its next run, is no fault of that run; but some day it has to end."""
MACHINES_LOST_WITHOUT_PROGRESS = 10
"""A run may lose as many machines as it likes while it comes forward between two of them."""

Verdict = Literal["again", "wait", "over"]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A death of which it is not known yet whether the machine died."""

    node: str | None
    at: float


@dataclass(slots=True)
class _Life:
    deaths: int = 0
    never_begun: int = 0
    lost: int = 0
    """Machines lost since the last new result."""
    progress: int = 0
    reason: str = ""
    doubts: list[_Doubt] = field(default_factory=list)


class Lives:
    """Of every run in flight; called from the control loop."""

    def __init__(self, nodes: Nodes, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes = nodes
        self._clock = clock
        self._lives: dict[str, _Life] = {}

    def progressed(self, run: str, progress: int) -> None:
        """A result of the run has come."""
        life = self._lives.setdefault(run, _Life())
        if progress > life.progress:
            life.progress, life.lost = progress, 0

    def died(self, run: str, death: Death, begun: bool, node: str | None) -> None:
        """Counts a death.

        Args:
            begun: whether the process had taken the run.
            node: where it was; None where nobody knows.
        """
        life = self._lives.setdefault(run, _Life())
        life.reason = death.reason
        if death.cause == "lost":
            life.lost += 1
        elif not begun:
            life.never_begun += 1
        elif death.cause == "died" and self._nodes.can_be_lost(node):
            life.doubts.append(_Doubt(node, self._clock()))
        else:
            life.deaths += 1

    def verdict(self, run: str) -> Verdict:
        """Whether the run is begun again; ``wait``: it depends on deaths that are not understood yet."""
        life = self._lives[run]
        self._settle(life)
        if self.why_over(run):
            return "over"
        return "wait" if life.deaths + len(life.doubts) > RESTARTS_AFTER_DEATH else "again"

    def why_over(self, run: str) -> str | None:
        """The reason to give a run up, in words; None where there is none."""
        life = self._lives[run]
        if life.deaths > RESTARTS_AFTER_DEATH:
            return f"the worker process died {life.deaths} times, the last time: {life.reason}"
        if life.never_begun >= PROCESSES_LOST_BEFORE_A_BEGIN:
            return f"{life.never_begun} processes died before they took the run: {life.reason}"
        if life.lost >= MACHINES_LOST_WITHOUT_PROGRESS:
            after = f"after step {life.progress}" if life.progress else "before its first step"
            return f"{life.lost} machines were lost under the run {after}, one after another, the last time: {life.reason}"
        return None

    def forget(self, run: str) -> None:
        """The run has ended."""
        self._lives.pop(run, None)

    def _settle(self, life: _Life) -> None:
        now, open_doubts = self._clock(), []
        for doubt in life.doubts:
            if self._nodes.is_lost(doubt.node, doubt.at):
                life.lost += 1
            elif now - doubt.at >= NOTICED_S:
                life.deaths += 1
            else:
                open_doubts.append(doubt)
        life.doubts = open_doubts
