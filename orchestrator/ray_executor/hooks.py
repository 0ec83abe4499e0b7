"""The hooks that Tune calls: a searcher for what runs next, a scheduler for what a result means, a callback for beginnings."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.ray_executor.bridge import Bridge


class SweepSearcher(Searcher):
    """Hands out the controller's runs. It keeps no state of its own: the record does."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric=None, mode=None)
        self._bridge = bridge

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        suggested = self._bridge.suggest(trial_id)
        return Searcher.FINISHED if suggested == "finished" else suggested

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._bridge.ended(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what Tune writes is never read back."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing, for the same reason."""


class SweepScheduler(FIFOScheduler):
    """Passes every result on; a run ends when the controller says so."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self._bridge.turn()
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(TrialScheduler.CONTINUE if self._bridge.result(trial.trial_id, result) else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Reads the text that Tune has just written; the exception beside it would have to be unpickled."""
        path = trial.error_file
        with contextlib.suppress(OSError):
            self._bridge.note_error(trial.trial_id, Path(path).read_text() if path else None)


class SweepCallback(Callback):
    """Knows when a process has taken a trial: one that dies before has nothing to do with it."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._bridge.begin(trial.trial_id)
