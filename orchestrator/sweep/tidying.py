"""Removes the checkpoints that a run need not keep once it has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

from orchestrator.sweep.controller import SweepController
from trainables.training.attempts import publish, remove_attempts
from trainables.training.retention import apply_retention


class Tidying:
    """Applies ``checkpoints.keep``; what cannot be removed stays, and costs nothing but space."""

    def __init__(self, controller: SweepController) -> None:
        self._controller = controller
        self._last: str | None = None

    def ended(self, run: str) -> None:
        """Tidies up after the run that ended before this one, whose worker has turned to something else by now."""
        if self._last is not None:
            self._tidy(self._last)
        self._last = run

    def all_ended(self) -> None:
        """Tidies up after every run of the sweep that has ended."""
        for run in self._controller.state.runs.values():
            if run.outcome not in (None, "interrupted"):
                self._tidy(run.id)

    def _tidy(self, run: str) -> None:
        folder: Path = self._controller.folder.trials / run
        with contextlib.suppress(OSError):
            publish(folder, self._controller.state.runs[run].attempts)
            remove_attempts(folder)
            apply_retention(folder, self._controller.specification.checkpoints.keep)
