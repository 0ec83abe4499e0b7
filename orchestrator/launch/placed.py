"""What is different where the storage is behind a URI: requests have a place, and a driver that lost the sweep is silent."""

from __future__ import annotations

from typing import Any

from orchestrator.storage import Upkeep
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.state import Event, RunState, SweepState
from orchestrator.sweep.telemetry import MlflowTelemetry
from trainables.training.request import RunRequest


class PlacedController(SweepController):
    """A controller whose runs keep their files where the sweep's storage says."""

    def __init__(self, *arguments: Any, upkeep: Upkeep, **more: Any) -> None:
        self.upkeep = upkeep
        super().__init__(*arguments, **more)

    def request(self, run: RunState) -> RunRequest:
        request, place = super().request(run), self.upkeep.place_of(run)
        return request if place is None else request.placed(place)


class TellingWhileOwned:
    """Tells nothing of a sweep that another driver goes on with, and tells itself."""

    def __init__(self, telemetry: MlflowTelemetry, upkeep: Upkeep) -> None:
        self._telemetry = telemetry
        self._upkeep = upkeep

    def tell(self, event: Event, state: SweepState, position: int) -> None:
        if self._upkeep.loss is None:
            self._telemetry.tell(event, state, position)
