"""The trainable that Ray Tune runs: a thin actor around :class:`trainables.training.worker.RunWorker`."""

from __future__ import annotations

import functools
import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.tune import Trainable

from trainables import registry
from trainables.heartbeat import Heartbeat, Sender, start_of_process
from trainables.training.request import RunRequest
from trainables.training.seeding import fit_threads
from trainables.training.worker import RunWorker

PAYLOAD = "memsweep"
"""The key of a result under which the payload stands."""
CONFIGURATION = "run"
"""The key of Tune's configuration under which ours stands, as one JSON text: Tune keeps every value of a configuration several
times over, and a history of each number."""
_CHECKPOINT_FILE = "session.pt"


class SweepTrainable(Trainable):
    """One run after another.

    ``config`` holds under :data:`CONFIGURATION` the JSON text of ``request`` (:meth:`RunRequest.to_dict`), ``reservation``
    (``cpus``; ``limit_mib`` and ``predicted_mib`` on a GPU that is shared), and ``watching`` (``register``: the name of the actor
    that takes beats, ``interval_s``) where somebody watches.

    A step returns ``{"memsweep": payload as JSON}`` and raises nothing: Tune cannot tell a bug in a trial from the death of a
    worker, so that every exception is a result here. It never says ``done``: whoever schedules ends a run by its payload's
    outcome, so that every result, the last one too, takes the same way.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Makes the process ready; the run itself begins with its first step, as Tune may set up a run in two processes and
        step it in the one that was ready first."""
        registry.architectures()
        ours = json.loads(config.get(CONFIGURATION, "{}"))
        self._heartbeat = _heartbeat(ours.get("watching"))
        self._worker = RunWorker(assigned_device(), beat=self._heartbeat.beat)
        self._waiting: dict[str, Any] | None = ours
        _freeze()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leaves the run and takes another one, which saves starting a process.

        Where the last run left something on the device, the process ends instead: whoever schedules starts another one for the
        new run. (To return False would lose the run: Tune tells its searcher nothing of it.)
        """
        self._leave()
        if not self._worker.is_clean:
            ray.actor.exit_actor()
        self._waiting = json.loads(new_config.get(CONFIGURATION, "{}"))
        _freeze()
        return True

    def step(self) -> dict[str, Any]:
        self._begin_if_waiting()
        self._heartbeat.beat()
        payload = self._worker.advance()
        if payload["outcome"] is not None:
            self._heartbeat.end()
        return {PAYLOAD: json.dumps(payload)}

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
        self._leave()

    def _leave(self) -> None:
        self._heartbeat.end()
        self._worker.stop()

    def _begin_if_waiting(self) -> None:
        if self._waiting is not None:
            config, self._waiting = self._waiting, None
            self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        values = config.get("request", {})
        self._heartbeat.begin(f"{values.get('run')}#{values.get('attempt', 1)}")
        try:
            fit_threads(config.get("reservation", {}).get("cpus", 1))
            request = RunRequest.from_dict(config["request"])
        except Exception as error:
            self._worker.refuse(str(values.get("run")), error)
        else:
            self._worker.start(request)


def _heartbeat(watching: Mapping[str, Any] | None) -> Heartbeat:
    """Tells beats to the actor that ``watching`` names, or to nobody, without waiting for it."""
    if watching is None or not ray.is_initialized():
        return Heartbeat(lambda run: None, float("inf"))
    sender = Sender(ray.get_runtime_context().get_node_id(), os.getpid(), start_of_process(os.getpid()))
    register_of = functools.lru_cache(maxsize=1)(lambda run: ray.get_actor(watching["register"]))  # looked up once a run
    return Heartbeat(lambda run: register_of(run).beat.remote(run, sender), watching["interval_s"])


def _freeze() -> None:
    """What is alive between two runs lives as long as the process: later collections need not look at it again."""
    gc.collect()
    gc.freeze()


def assigned_device() -> torch.device:
    """The GPU that Ray gave this worker, which is the first one visible to it, or the CPU."""
    assigned = ray.get_runtime_context().get_accelerator_ids().get("GPU", []) if ray.is_initialized() else []
    return torch.device("cuda", 0) if assigned and torch.cuda.is_available() else torch.device("cpu")
