"""The trainable that Ray Tune runs: a thin actor around :class:`trainables.training.worker.RunWorker`."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.tune import Trainable

from trainables import registry
from trainables.heartbeat import Heartbeat, Sender, start_of_process
from trainables.memory import MemoryShare
from trainables.memory.inventory import name_of_gpu
from trainables.training.request import RunRequest
from trainables.training.seeding import fit_threads
from trainables.training.worker import RunWorker

PAYLOAD = "memsweep"
"""The key of a result under which the payload stands."""
CONFIGURATION = "run"
"""The key of Tune's configuration under which ours stands, as one JSON text: Tune keeps every value of a configuration several
times over, and a history of each number."""
_CHECKPOINT_FILE = "session.pt"
_ANSWER_PATIENCE_S = 30.0
"""For the actor that knows who is on which GPU; a run begins without its word rather than not at all."""

_logger = logging.getLogger(__name__)


class SweepTrainable(Trainable):
    """One run after another.

    ``config`` holds under :data:`CONFIGURATION` the JSON text of ``request`` (:meth:`RunRequest.to_dict`), ``reservation``
    (``cpus``; ``limit_mib`` and ``predicted_mib`` on a GPU that is shared), and ``watching`` (``register``: the name of the actor
    that takes beats, ``interval_s``) where somebody watches, and ``tenancy`` (``register``: the name of the actor that knows who
    is on which GPU) where somebody keeps account of that.

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
        self._worker = RunWorker(assigned_device(), beat=self._heartbeat.beat, notice=self._heartbeat.notice)
        self._stepping = False
        self._heartbeat.notice.take_sigterm(lambda: self._stepping)
        self._waiting: dict[str, Any] | None = ours
        self._label: str | None = None
        _freeze()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leaves the run and takes another one, which saves starting a process.

        Where the last run left something on the device, or the process has to leave its machine, it ends instead: whoever
        schedules starts another one for the new run. (To return False would lose the run: Tune tells its searcher nothing of it.)
        """
        self._leave()
        if not self._worker.is_clean or self._heartbeat.notice.given:
            ray.actor.exit_actor()
        self._waiting = json.loads(new_config.get(CONFIGURATION, "{}"))
        _freeze()
        return True

    def step(self) -> dict[str, Any]:
        self._begin_if_waiting()
        self._heartbeat.beat()
        self._stepping = True
        try:
            payload = self._worker.advance()
        finally:
            self._stepping = False
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

    def leave(self, label: str) -> None:
        """Leaves the attempt ``label`` now, if it is still the one at hand, and frees what it held on the GPU.

        For whoever has ended it: Tune says nothing to a process whose trial it stops until there is another trial for it.
        """
        if self._label == label:
            self._leave()

    def cleanup(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self._label = None
        self._heartbeat.end()
        self._worker.stop()

    def _begin_if_waiting(self) -> None:
        if self._waiting is not None:
            config, self._waiting = self._waiting, None
            self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        values, reservation = config.get("request", {}), config.get("reservation", {})
        self._label = f"{values.get('run')}#{values.get('attempt', 1)}"
        if not _may_begin(self._label, reservation, config.get("tenancy")):
            ray.actor.exit_actor()
        self._heartbeat.begin(self._label)
        try:
            fit_threads(reservation.get("cpus", 1))
            share = MemoryShare.from_values(reservation)
            request = RunRequest.from_dict(config["request"])
        except Exception as error:
            self._worker.refuse(str(values.get("run")), error)
        else:
            self._worker.start(request, share)


def _heartbeat(watching: Mapping[str, Any] | None) -> Heartbeat:
    """Tells beats to the actor that ``watching`` names, or to nobody, without waiting for it."""
    if watching is None or not ray.is_initialized():
        return Heartbeat(lambda run: None, float("inf"))
    sender = _this_process()
    register_of = functools.lru_cache(maxsize=1)(lambda run: ray.get_actor(watching["register"]))  # looked up once a run
    return Heartbeat(lambda run: register_of(run).beat.remote(run, sender), watching["interval_s"], answer=_answered)


def _answered(asked: Any) -> bool | None:
    """Whether the process has to leave; None where that has not been answered yet."""
    ready, _ = ray.wait([asked], timeout=0)
    return bool(ray.get(ready[0])) if ready else None


def _may_begin(label: str, reservation: Mapping[str, Any], tenancy: Mapping[str, Any] | None) -> bool:
    """Tells where this process is to the actor that ``tenancy`` names; False where it says that a GPU is in quarantine.

    The process has to be replaced then, as Ray does not move one to another GPU.
    """
    gpus = assigned_gpus()
    if tenancy is None or not gpus or not ray.is_initialized():
        return True
    try:
        register, worker = ray.get_actor(tenancy["register"]), ray.get_runtime_context().current_actor
        asked = register.arrive.remote(_this_process(), gpus, label, reservation.get("limit_mib"), worker)
        return bool(ray.get(asked, timeout=_ANSWER_PATIENCE_S))
    except Exception as error:
        _logger.warning("%s begins without the word of the quarantine, which does not answer: %s", label, error)
        return True


def _this_process() -> Sender:
    return Sender(ray.get_runtime_context().get_node_id(), os.getpid(), start_of_process(os.getpid()))


def _freeze() -> None:
    """What is alive between two runs lives as long as the process: later collections need not look at it again."""
    gc.collect()
    gc.freeze()


def assigned_gpus() -> list[str]:
    """The GPUs that Ray gave this process: UUIDs, or Ray's names where nobody knows UUIDs."""
    return [name_of_gpu(entry, os.environ) for entry in _assigned()]


def assigned_device() -> torch.device:
    """The GPU that Ray gave this worker, which is the first one visible to it, or the CPU."""
    return torch.device("cuda", 0) if _assigned() and torch.cuda.is_available() else torch.device("cpu")


def _assigned() -> list[str]:
    """As Ray names them."""
    return (
        [str(entry) for entry in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])] if ray.is_initialized() else []
    )
