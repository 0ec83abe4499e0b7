"""How many runs are in flight at once: as many as were asked for, or as many as the cluster holds at the moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Literal

from orchestrator.packing import Reservation
from orchestrator.ray_executor.cluster import ClusterResources

SECONDS_BETWEEN_LOOKS = 2.0
_TOLERANCE = 1e-6
_SMALLEST_SHARE = 1 / 16
"""Of a GPU: less than this is never asked for by a run that is packed."""


class Width:
    """``concurrency: auto`` follows the cluster as it grows and shrinks; a number is kept whatever the cluster has, so that what
    does not fit waits in Ray and is the demand that an autoscaler sees.

    ``resources`` tells what all living nodes have together; it is asked at most every :data:`SECONDS_BETWEEN_LOOKS`.
    """

    def __init__(
        self,
        concurrency: int | Literal["auto"],
        resources: Callable[[], ClusterResources],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._concurrency = concurrency
        self._resources = resources
        self._clock = clock
        self._looked_at = float("-inf")
        self._seen = ClusterResources(0.0, 0.0)

    def is_open(self, in_flight: Collection[Reservation]) -> bool:
        """Whether a run that asks for little would fit; asked before one is suggested."""
        if isinstance(self._concurrency, int):
            return len(in_flight) < self._concurrency
        if not in_flight:
            return True
        least = min(in_flight, key=lambda reservation: reservation.gpus)
        return self.fits(in_flight, Reservation(least.cpus, min(least.gpus, _SMALLEST_SHARE)))

    def fits(self, in_flight: Collection[Reservation], wanted: Reservation) -> bool:
        """Whether ``wanted`` fits beside the others. A single run always does: where the cluster has nothing at the moment, it is
        what the cluster is asked for."""
        if isinstance(self._concurrency, int):
            return len(in_flight) < self._concurrency
        if not in_flight:
            return True
        there = self._look()
        cpus = sum(reservation.cpus for reservation in in_flight) + wanted.cpus
        gpus = sum(reservation.gpus for reservation in in_flight) + wanted.gpus
        return cpus <= there.cpus + _TOLERANCE and gpus <= there.gpus + _TOLERANCE

    def _look(self) -> ClusterResources:
        now = self._clock()
        if now - self._looked_at >= SECONDS_BETWEEN_LOOKS:
            self._looked_at, self._seen = now, self._resources()
        return self._seen
