"""The trainable that Ray Tune runs: a thin actor around :class:`trainables.training.worker.RunWorker`."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import ray
import torch
from ray.tune import Trainable

from trainables import registry
from trainables.training.request import RunRequest
from trainables.training.seeding import fit_threads
from trainables.training.worker import RunWorker

PAYLOAD = "memsweep"
"""The key of a result under which the payload stands."""
_CHECKPOINT_FILE = "session.pt"


class SweepTrainable(Trainable):
    """One run after another. ``config``: ``request`` (:meth:`RunRequest.to_dict`), ``cpus``, perhaps ``checkpoint_seconds``.

    A step returns ``{"memsweep": payload as JSON}`` and raises nothing: Tune cannot tell a bug in a trial from the death of a
    worker, so that every exception is a result here. It never says ``done``: whoever schedules ends a run by its payload's
    outcome, so that every result, the last one too, takes the same way.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Makes the process ready; the run itself begins with its first step, as Tune may set up a run in two processes and
        step it in the one that was ready first."""
        registry.architectures()
        self._worker = RunWorker(assigned_device(), checkpoint_seconds=config.get("checkpoint_seconds", 30.0))
        self._waiting: dict[str, Any] | None = config
        _freeze()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leaves the run and takes another one, which saves starting a process."""
        self._worker.stop()
        self._waiting = new_config
        _freeze()
        return True

    def step(self) -> dict[str, Any]:
        self._begin_if_waiting()
        return {PAYLOAD: json.dumps(self._worker.advance())}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._begin_if_waiting()
        self._worker.save(Path(checkpoint_dir) / _CHECKPOINT_FILE)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Continues from a folder that :meth:`save_checkpoint` wrote; one of a run without a session changes nothing."""
        path = Path(str(checkpoint)) / _CHECKPOINT_FILE
        self._begin_if_waiting()
        if path.is_file():
            self._worker.load(path)

    def cleanup(self) -> None:
        self._worker.stop()

    def _begin_if_waiting(self) -> None:
        if self._waiting is not None:
            config, self._waiting = self._waiting, None
            self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        try:
            fit_threads(config.get("cpus", 1))
            request = RunRequest.from_dict(config["request"])
        except Exception as error:
            self._worker.refuse(str(config.get("request", {}).get("run")), error)
        else:
            self._worker.start(request)


def _freeze() -> None:
    """What is alive between two runs lives as long as the process: later collections need not look at it again."""
    gc.collect()
    gc.freeze()


def assigned_device() -> torch.device:
    """The GPU that Ray gave this worker, which is the first one visible to it, or the CPU."""
    assigned = ray.get_runtime_context().get_accelerator_ids().get("GPU", []) if ray.is_initialized() else []
    return torch.device("cuda", 0) if assigned and torch.cuda.is_available() else torch.device("cpu")
