"""Holds what is free of one GPU, so that Ray places nothing on it: Ray itself can leave out a node, but not one of its GPUs.

A placement group holds a share and needs no process. On which GPU of a node it lies cannot be chosen, only seen: one that lies
elsewhere is kept for as long as the search goes on, so that the next one lies somewhere else, and is given back then.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.ray_executor.devices import name_on
from orchestrator.ray_executor.tenancy import Place

SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)
"""Of a GPU, largest first; the last one is the smallest that a packed run asks for, so that what stays free is too little."""
PLACEMENT_PATIENCE_S = 1.0
"""A share that is free is placed within milliseconds."""
_ANSWER_PATIENCE_S = 30.0
_ROUNDING = 1e-6

_logger = logging.getLogger(__name__)


class Hold(Protocol):
    """A share of some GPU that is taken."""

    @property
    def place(self) -> Place: ...

    @property
    def share(self) -> float: ...

    def release(self) -> None: ...


class Guard:
    """Of one GPU. ``take`` takes a share of any GPU of a node, or says None where nothing so large is free."""

    def __init__(self, place: Place, take: Callable[[str, float], Hold | None]) -> None:
        self._place = place
        self._take = take
        self._holds: list[Hold] = []
        self._is_over = False

    @property
    def share(self) -> float:
        """What is held of the GPU, between 0 and 1."""
        return sum(hold.share for hold in self._holds)

    def tighten(self) -> None:
        """Takes what is free of the GPU now; to be tried again when something leaves it."""
        elsewhere: list[Hold] = []
        try:
            for share in SHARES:
                while not self._is_over and self.share + share <= 1 + _ROUNDING:
                    hold = self._take(self._place.node, share)
                    if hold is None:
                        break
                    (self._holds if hold.place == self._place else elsewhere).append(hold)
        finally:
            for hold in elsewhere:
                hold.release()
            if self._is_over:  # while something was being taken
                self.release()

    def release(self) -> None:
        """Ray may place runs on the GPU again, for good; another thread may be about to take more."""
        self._is_over = True
        while self._holds:
            self._holds.pop().release()


class PlacedHold:
    """A share in a placement group of its own."""

    def __init__(self, group: PlacementGroup, place: Place, share: float) -> None:
        self._group = group
        self.place = place
        self.share = share

    def release(self) -> None:
        _remove(self._group)


def take_share(node: str, share: float) -> PlacedHold | None:
    """A share of whichever GPU of ``node`` Ray chooses; None where nothing so large is free, or the node does not answer."""
    group = placement_group([{"GPU": share}], bundle_label_selector=[{"ray.io/node-id": node}])
    try:
        if group.wait(PLACEMENT_PATIENCE_S):
            strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
            asked = ray.remote(_assigned_gpu).options(num_cpus=0, num_gpus=share, max_retries=0, scheduling_strategy=strategy)
            entry = ray.get(asked.remote(), timeout=_ANSWER_PATIENCE_S)
            return PlacedHold(group, Place(node, name_on(node, entry)), share)
    except Exception as error:  # such as a node that is lost meanwhile
        _logger.debug("no share of a GPU of node %s could be taken: %s", node, error)
    _remove(group)
    return None


def _assigned_gpu() -> str:
    """As Ray names it; without the driver's library, since each asks in a process of its own."""
    return str(ray.get_runtime_context().get_accelerator_ids()["GPU"][0])


def _remove(group: PlacementGroup) -> None:
    with contextlib.suppress(Exception):  # a Ray that is gone holds nothing
        remove_placement_group(group)
