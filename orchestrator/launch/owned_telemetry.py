"""A driver that has lost the sweep is silent."""

from __future__ import annotations

from orchestrator.storage import Upkeep
from orchestrator.sweep.state import Event, SweepState
from orchestrator.sweep.telemetry import MlflowTelemetry


class TellingWhileOwned:
    """Tells nothing of a sweep that another driver goes on with, and tells itself."""

    def __init__(self, telemetry: MlflowTelemetry, upkeep: Upkeep) -> None:
        self._telemetry = telemetry
        self._upkeep = upkeep

    def tell(self, event: Event, state: SweepState, position: int) -> None:
        if self._upkeep.loss is None:
            self._telemetry.tell(event, state, position)
