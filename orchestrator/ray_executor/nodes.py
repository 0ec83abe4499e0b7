"""Which nodes of the cluster are alive, which have been told to leave, and which are gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

NOTICED_S = 30.0
"""A node that is gone is known as such so many seconds after the death of its first process, at the latest."""


@dataclass(frozen=True, slots=True)
class NodeSurvey:
    """Ids of nodes, as Ray gives them."""

    alive: frozenset[str]
    leaving: frozenset[str] = frozenset()
    """Of those that are alive: they are drained, and will be taken away soon."""


def living_nodes() -> frozenset[str]:
    """Their ids; waits for Ray's answer, so that the control loop must not call it."""
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def survey_nodes() -> NodeSurvey:
    """Asks Ray, as :func:`living_nodes` does."""
    alive = living_nodes()
    return NodeSurvey(alive, alive & _draining())


def _draining() -> frozenset[str]:
    """No public function tells it to a process of the cluster; this one is what Ray's own libraries ask. Where it is missing,
    nothing is known of notices and a node that is taken away counts as lost."""
    with contextlib.suppress(Exception):
        from ray._private.state import state

        return frozenset(state.get_draining_nodes())
    return frozenset()


class Nodes:
    """What is known of the nodes. A thread tells it, the control loop asks; neither waits for the other.

    ``here`` is the driver's node, which cannot be lost without the driver. ``survey`` is what is known at the beginning.
    """

    def __init__(self, here: str, survey: NodeSurvey | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.here = here
        self._clock = clock
        self._survey = survey or NodeSurvey(frozenset({here}))
        self._gone_at: dict[str, float] = {}

    @property
    def leaving(self) -> frozenset[str]:
        """The nodes that will be taken away soon."""
        return self._survey.leaving

    def take(self, survey: NodeSurvey) -> None:
        """What was found just now."""
        now = self._clock()
        gone = dict.fromkeys(self._survey.alive - survey.alive, now)
        self._gone_at = {node: at for node, at in self._gone_at.items() if node not in survey.alive} | gone
        self._survey = survey

    def can_be_lost(self, node: str | None) -> bool:
        """Whether a process on ``node`` (None: nobody knows on which) may have died with its machine."""
        if node is None:
            return bool((self._survey.alive | self._gone_at.keys()) - {self.here})
        return node != self.here

    def is_lost(self, node: str | None, died_at: float) -> bool:
        """Whether the node is gone; where nobody knows which it was, whether any went when the process died.

        Args:
            died_at: by the clock given at the beginning, in s.
        """
        if node is None:
            return any(abs(at - died_at) <= NOTICED_S for at in self._gone_at.values())
        return node != self.here and node not in self._survey.alive
