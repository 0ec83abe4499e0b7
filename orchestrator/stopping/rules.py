"""``none``, ``asha`` and ``median``: ``decide(population, member, epoch, value) -> continue | stop``.

A decision depends only on the population as it is when a member reports, so the record rebuilds every one of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.stopping.population import Population

CONTINUE = "continue"
STOP = "stop"


class StoppingRule(Protocol):
    """Pure: the same population, member, epoch and value give the same answer."""

    def decide(self, population: Population, member: str, epoch: int, value: float) -> str:
        """``continue`` or ``stop``; the value is in the population already."""
        ...


@dataclass(frozen=True)
class NeverStop:
    """``none``: every run reaches its budget."""

    def decide(self, population: Population, member: str, epoch: int, value: float) -> str:
        return CONTINUE


@dataclass(frozen=True)
class AsynchronousSuccessiveHalving:
    """``asha`` (Li et al. 2020, arXiv 1810.05934, the stopping form): at each rung only the best ``1/reduction_factor`` of
    those who came so far goes on.

    Rungs of bracket s lie at ``grace_period · reduction_factor^(k+s)``; members join the brackets in turn.
    """

    grace_period: int
    reduction_factor: float
    brackets: int = 1

    def decide(self, population: Population, member: str, epoch: int, value: float) -> str:
        members = population.members
        bracket = members.index(member) % self.brackets
        peers = [peer for index, peer in enumerate(members) if index % self.brackets == bracket]
        rung = self._rung_reached_now(population, member, epoch, bracket)
        if rung is None:
            return CONTINUE
        reached = population.at_rung(rung, peers)
        survivors = math.ceil(len(reached) / self.reduction_factor)
        threshold = sorted(reached.values(), reverse=True)[survivors - 1]
        return CONTINUE if reached[member] >= threshold else STOP

    def _rung_reached_now(self, population: Population, member: str, epoch: int, bracket: int) -> int | None:
        earlier = max((e for e in population.curve(member) if e < epoch), default=0)
        rung = self.grace_period * self.reduction_factor**bracket
        reached = None
        while math.ceil(rung) <= epoch:
            if math.ceil(rung) > earlier:
                reached = math.ceil(rung)
            rung *= self.reduction_factor
        return reached


@dataclass(frozen=True)
class MedianStopping:
    """``median`` (Golovin et al. 2017, Vizier): stop a run whose best value so far is worse than the median of the others'
    running averages at the same epoch, once ``min_samples`` others have come so far."""

    grace_period: int
    min_samples: int = 3

    def decide(self, population: Population, member: str, epoch: int, value: float) -> str:
        if epoch < self.grace_period:
            return CONTINUE
        averages = [
            statistics.fmean(v for e, v in population.curve(peer).items() if e <= epoch)
            for peer in population.members
            if peer != member and max(population.curve(peer)) >= epoch
        ]
        if len(averages) < self.min_samples:
            return CONTINUE
        best = max(v for e, v in population.curve(member).items() if e <= epoch)
        return CONTINUE if best >= statistics.median(averages) else STOP


STOPPING_RULES: dict[str, Callable[[Any], StoppingRule]] = {
    "none": lambda options: NeverStop(),
    "asha": lambda options: AsynchronousSuccessiveHalving(options.grace_period, options.reduction_factor, options.brackets),
    "median": lambda options: MedianStopping(options.grace_period, options.min_samples),
}


def stopping_rule(options: Any) -> StoppingRule:
    """The rule that a ``scheduler`` section names."""
    return STOPPING_RULES[options.name](options)
