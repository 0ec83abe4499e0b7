"""The quarantine: a GPU whose memory does not return after a run is named, and gets no more runs until it does.

Workers tell a small actor where they are before they begin (:mod:`orchestrator.ray_executor.tenancy`), and the driver tells it
when a run has ended; a thread of the driver then has the GPU's memory read on its node, and a :class:`Warden` compares. What is
free of a quarantined GPU is held; a worker that comes to be there all the same is refused, and asks to be replaced.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from orchestrator.packing.capacity import GpuMemory
from orchestrator.ray_executor.devices import read, survey_of_others
from orchestrator.ray_executor.guard import take_share
from orchestrator.ray_executor.registers import start_register
from orchestrator.ray_executor.tenancy import Examination, Occupancy, Place, Reading, Tenancy
from orchestrator.ray_executor.warden import Warden
from trainables.heartbeat import Sender

TICK_S = 2.0
SETTLE_S = 2.0
"""For Ray to have back what a process had that was refused or has ended."""
LONGEST_PAUSE_S = 60.0
"""For all that is free of GPUs in quarantine to be held; should that fail, runs are refused there instead."""
TURNS_BETWEEN_SURVEYS = 15
"""Nodes that join are looked at this often."""
_ANSWER_PATIENCE_S = 30.0
_LONGEST_TURN_S = 15.0

_logger = logging.getLogger(__name__)


class TenancyRegister:
    """The actor: the account of who is where, and the way to a worker whose run was ended by the driver."""

    def __init__(self) -> None:
        self._tenancy = Tenancy()
        self._workers: dict[str, Any] = {}

    def arrive(self, process: Sender, gpus: list[str], label: str, limit_mib: float | None, worker: Any) -> bool:
        """Whether the process may begin the attempt; ``worker`` is the handle of its actor."""
        may_begin = self._tenancy.arrive(process, gpus, label, limit_mib)
        if may_begin:
            self._workers[label] = worker
        return may_begin

    def depart(self, label: str) -> None:
        """The attempt is over: its worker hears of it here, since Tune says nothing to it until there is another run for it."""
        self._tenancy.depart(label)
        worker = self._workers.pop(label, None)
        if worker is not None:
            worker.leave.remote(label)

    def forget(self, processes: Collection[Sender]) -> None:
        self._tenancy.forget(processes)

    def close(self, places: Collection[Place]) -> None:
        self._tenancy.close(places)

    def take(self) -> Occupancy:
        return self._tenancy.take()


class Quarantine:
    """Works as long as its context lasts; ``gpus`` and ``left_alone`` are those of :class:`Warden`.

    Nothing here calls into the control loop, which takes what is to be told by :meth:`warnings`.
    """

    def __init__(
        self,
        gpus: Iterable[GpuMemory],
        left_alone: Iterable[GpuMemory] = (),
        *,
        tick_s: float = TICK_S,
        examination: Examination | None = None,
        read: Callable[[Collection[Place], Collection[Sender]], Reading] = read,
    ) -> None:
        self._tick_s = tick_s
        self._warden = Warden(gpus, left_alone, read, take_share, examination, SETTLE_S)
        self._turns = 0
        self._settling_since: float | None = None
        self._surveyed = {gpu.node for gpu in self._warden.gpus}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="quarantine", daemon=True)
        self.name = f"memsweep-tenancy-{uuid.uuid4().hex}"
        self._register = start_register(TenancyRegister, self.name)
        self._close()

    @property
    def gpus(self) -> Sequence[GpuMemory]:
        """All that were surveyed, those of nodes that joined later too."""
        return self._warden.gpus

    @property
    def held_gpus(self) -> float:
        """How much of the cluster's GPUs is held free of runs."""
        return self._warden.held_gpus

    def is_settling(self) -> bool:
        """Whether no run should be handed out for a moment: the search for what is free of a GPU in quarantine takes what is free
        of the others meanwhile, so that runs would come to be on just that one."""
        if self._warden.is_tight or not self._thread.is_alive():
            self._settling_since = None
            return False
        now = time.monotonic()
        self._settling_since = now if self._settling_since is None else self._settling_since
        return now - self._settling_since < LONGEST_PAUSE_S

    def to_dict(self) -> dict[str, Any]:
        """What a worker needs to know to tell where it is; plain values for Tune's configuration."""
        return {"register": self.name}

    def depart(self, label: str) -> None:
        """The attempt ended, was given up, or was taken from its process."""
        with contextlib.suppress(Exception):  # such as Ray on its way down
            self._register.depart.remote(label)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """What is to be told of attempts, by their label, each once; nothing nearly always."""
        return self._warden.warnings()

    def __enter__(self) -> Quarantine:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._warden.release()
        self._thread.join(_LONGEST_TURN_S)
        with contextlib.suppress(Exception):  # where Ray itself is gone there is nothing to end
            ray.kill(self._register)

    def _work(self) -> None:
        wait_s = 0.0  # GPUs that others have filled are held before runs come to be there
        while not self._ended.wait(wait_s):
            wait_s = self._tick_s
            try:
                self._turn()
            except RayActorError as error:
                _logger.warning("the account of who is on which GPU died; GPUs are no longer examined: %s", error)
                return
            except GetTimeoutError:
                _logger.debug("the account of who is on which GPU does not answer")
            except Exception as error:  # nothing that goes wrong here may end a sweep
                _logger.warning("GPUs could not be examined: %s: %s", type(error).__name__, error)

    def _turn(self) -> None:
        self._turns += 1
        if self._turns % TURNS_BETWEEN_SURVEYS == 0:
            self._look_for_others()
        closed = set(self._warden.closed)
        gone = self._warden.examine(ray.get(self._register.take.remote(), timeout=_ANSWER_PATIENCE_S))
        if gone:
            self._register.forget.remote(gone)
        if closed != set(self._warden.closed):
            self._close()
        self._warden.tighten()

    def _look_for_others(self) -> None:
        """Each node is asked until it has answered, be it that it knows nothing."""
        found = survey_of_others(self._surveyed)
        self._surveyed |= found.keys()
        self._warden.learn(gpu for gpus in found.values() for gpu in gpus)

    def _close(self) -> None:
        self._register.close.remote(self._warden.closed)
