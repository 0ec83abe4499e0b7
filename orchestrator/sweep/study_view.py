"""``study.db``: Optuna's view of the studies, for its dashboard. Written by a thread of its own; deleting it loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import optuna

from orchestrator.search.study import Study

_FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)


class StudyView:
    """Copies finished trials into a sqlite file every ``interval_s`` seconds and once more when closed."""

    def __init__(self, path: Path, studies: Mapping[str, Study], interval_s: float = 15.0) -> None:
        self._path = path
        self._studies = studies
        self._interval_s = interval_s
        self._written: dict[str, set[int]] = {name: set() for name in studies}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="study-view", daemon=True)

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._write()

    def _loop(self) -> None:
        while not self._closing.wait(self._interval_s):
            self._write()

    def _write(self) -> None:
        storage = optuna.storages.RDBStorage(f"sqlite:///{self._path}")
        for name, study in self._studies.items():
            source = study.optuna_study
            directions = source.directions
            view = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
            for trial in source.get_trials(deepcopy=False, states=_FINISHED):
                if trial.number not in self._written[name]:
                    view.add_trial(trial)
                    self._written[name].add(trial.number)
        storage.engine.dispose()
