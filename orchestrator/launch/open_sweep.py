"""A sweep whose record is open: what every command that goes on with one has in hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.record import Journal
from orchestrator.space.specification import SweepSpecification
from orchestrator.storage import Upkeep
from orchestrator.sweep.folder import SweepFolder


@dataclass(frozen=True)
class OpenSweep:
    """A sweep about to go on: its record is open, ``events`` is what stands in it until :meth:`forget_events`."""

    specification: SweepSpecification
    folder: SweepFolder
    journal: Journal
    events: list[dict[str, Any]]
    upkeep: Upkeep = field(default_factory=Upkeep)

    def record(self, event: Mapping[str, Any], durable: bool = True) -> int:
        """Adds an event that no controller writes, with its time; returns its position in the record."""
        timed = {**event, "time": round(time.time(), 3)}
        self.events.append(timed)
        return self.journal.append(timed, durable)

    def forget_events(self) -> None:
        """Frees the memory of the events, for whoever holds the same list too; a controller has their state by now."""
        self.events.clear()
