"""What a person is shown while a sweep runs."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.ray_executor.resources import Allocation
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.state import RunState, TrialState


class SweepObserver:
    """This one shows nothing."""

    def preparing(self) -> None: ...

    def edited(self, changes: Sequence[str], consequences: Sequence[str]) -> None:
        """The space was edited: what changed in it, and what that means for the trials so far."""

    def warmed(self, source: str, told: int, outside: int) -> None:
        """An earlier sweep tells the sampler ``told`` trials; ``outside`` others have no place in this space."""

    def sharing(self, title: str) -> None:
        """Something that runs share is being made."""

    def started(self, controller: SweepController, allocation: Allocation) -> None: ...

    def warned(self, run: str, message: str) -> None:
        """Something went wrong in a run without ending it."""

    def told(self, message: str) -> None:
        """Something that concerns no run alone, such as a GPU that is left alone."""

    def run_ended(self, controller: SweepController, trial: TrialState, run: RunState) -> None: ...

    def delivering(self, pending: int) -> None: ...

    def ended(self) -> None: ...
