"""Looking at modules while they run: each part says what it saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Observed(Protocol):
    """A part of a module that can keep figures of its own work."""

    def begin_observation(self) -> None:
        """Forgets what was seen and looks from now on."""

    def end_observation(self) -> dict[str, float]:
        """Looks no longer; the figures by name, none where nothing was seen."""


def observe(module: nn.Module, run: Callable[[], None]) -> dict[str, float]:
    """What the parts of ``module`` saw during ``run``: of each name the mean over the parts that have it."""
    parts = [part for part in module.modules() if isinstance(part, Observed)]
    for part in parts:
        part.begin_observation()
    try:
        run()
    finally:
        seen = [part.end_observation() for part in parts]
    names = dict.fromkeys(name for figures in seen for name in figures)
    return {name: _mean([figures[name] for figures in seen if name in figures]) for name in names}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
