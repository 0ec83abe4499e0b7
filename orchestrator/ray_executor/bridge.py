"""Between Tune's hooks and the controller; it also measures how long each hook takes.

A worker's death is dealt with here and not by Tune, which cannot tell why a process died and forgets a run whose process died
between two runs: a run that is to go on is handed out again, under another of Tune's ids, and goes on from its checkpoint.
"""

from __future__ import annotations

import functools
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from orchestrator.packing import Reservation, Reserver
from orchestrator.ray_executor.death import Death, read_death
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.silence import Attendance
from orchestrator.ray_executor.watch import StallWatch
from orchestrator.ray_executor.width import Width
from orchestrator.sweep.controller import SweepController
from trainables.ray_trainable import CONFIGURATION, PAYLOAD
from trainables.training.request import RunRequest

CPUS, GPUS = "cpu", "gpu"
"""The keys of Tune's configuration under which stands what a trial asks for."""
RESTARTS_AFTER_DEATH = 3
PROCESSES_LOST_BEFORE_A_BEGIN = 10
"""A process that dies while it is made, or given its next run, is no fault of that run; but some day it has to end."""

P = ParamSpec("P")
T = TypeVar("T")


def _hook(method: Callable[Concatenate[Bridge, P], T]) -> Callable[Concatenate[Bridge, P], T]:
    """Measures the call, keeps Ctrl-C out of it, and remembers what it raises: Tune would pass on a text alone."""

    @functools.wraps(method)
    def measured(self: Bridge, *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.perf_counter()
        with self.interruption.shielded():
            try:
                return method(self, *args, **kwargs)
            except Exception as error:
                self.error = error
                raise
            finally:
                taken = time.perf_counter() - started
                self.slowest_call_s[method.__name__] = max(taken, self.slowest_call_s.get(method.__name__, 0.0))

    return cast("Callable[Concatenate[Bridge, P], T]", measured)


@dataclass(frozen=True, slots=True)
class Handed:
    """An attempt of a run, and what it was given."""

    request: RunRequest
    reservation: Reservation


class Bridge:
    """One per execution of a sweep. Tune's trial ids are its own; a run is named by its request, and each of its attempts by the
    request's label."""

    def __init__(
        self,
        controller: SweepController,
        reserver: Reserver,
        width: Width,
        interruption: Interruption,
        attendance: Attendance,
        watch: StallWatch,
    ) -> None:
        self.controller = controller
        self.interruption = interruption
        self.attendance = attendance
        self.slowest_call_s: dict[str, float] = {}
        self.error: Exception | None = None
        """What a hook raised."""
        self.results = 0
        """Results taken so far."""
        self._reserver = reserver
        self._width = width
        self._watch = watch
        self._handed: dict[str, Handed] = {}
        """By Tune's trial."""
        self._held: Handed | None = None
        """The next one, for which there is no room at the moment."""
        self._again: deque[str] = deque()
        self._errors: dict[str, str] = {}
        self._begun: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._never_begun: Counter[str] = Counter()
        self._over: set[str] = set()
        """The attempts that have ended and whose trial Tune has not ended yet."""
        controller.may_retry = reserver.fits

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its hooks into a file that is never read."""
        return {}

    @property
    def in_flight(self) -> bool:
        """Whether a run is being trained or waits to be handed out again."""
        return bool(self._handed or self._again or self._held)

    @_hook
    def suggest(self, tune_trial: str) -> dict[str, Any] | Literal["finished"] | None:
        """The configuration of the next run; None when there is none at the moment: a run in flight may come back, or room."""
        handed = None if self.interruption.requested else self._next()
        if handed is None:
            return "finished" if self.interruption.requested or not self.in_flight else None
        self._handed[tune_trial] = handed
        self.attendance.speak(handed.request.label)
        return self._configuration(handed)

    @_hook
    def result(self, tune_trial: str, result: dict[str, Any]) -> bool:
        """Takes a result; returns whether the run goes on."""
        payload = json.loads(result[PAYLOAD])
        handed = self._handed.get(tune_trial)
        if handed is None:
            return False
        self.results += 1
        goes_on = self.controller.on_result(payload["run"], payload) and not self.interruption.requested
        self._reserver.learn(handed.request, payload["metrics"])
        if goes_on:
            self.attendance.speak(handed.request.label)
        else:
            self._over.add(handed.request.label)
            self._leave(handed.request.label)
        return goes_on

    def begin(self, tune_trial: str) -> None:
        """A process has taken the run of a trial."""
        self._begun.add(tune_trial)

    def note_error(self, tune_trial: str, text: str | None) -> None:
        """What Ray says of a process that died; :meth:`ended` follows."""
        self._errors[tune_trial] = text or ""

    @_hook
    def ended(self, tune_trial: str, error: bool) -> None:
        """Tune is through with a trial; only a death is news."""
        handed, text, begun = self._handed.pop(tune_trial, None), self._errors.pop(tune_trial, None), tune_trial in self._begun
        self._begun.discard(tune_trial)
        if handed is not None and error:
            self._died(handed.request, read_death(text), begun)
        elif handed is not None:
            self._forget(handed.request)

    @_hook
    def fell(self, crash: Exception) -> None:
        """Tune gave up, as it does when Ray's memory monitor kills a worker; the runs in flight go on in a fresh one.

        Where nobody can be named as the reason, each of them has lost a life: it might be any of them, again and again.
        """
        death = read_death(str(crash))
        killed = {label for label, sender in self._watch.senders().items() if death.concerns(sender)}
        others = Death("replaced" if killed else "died", f"Tune gave up: {death.reason}")
        for trial, handed in self._handed.items():
            self._died(handed.request, death if handed.request.label in killed else others, trial in self._begun)
        self._handed.clear()
        self._begun.clear()

    def _next(self) -> Handed | None:
        """The next attempt of a run; None where there is no room for it, or nothing left."""
        in_flight = [handed.reservation for handed in self._handed.values()]
        if self._held is None and self._width.is_open(in_flight):
            request = self.controller.hand_out_again(self._again.popleft()) if self._again else self.controller.next_run()
            self._held = None if request is None else self._with_reservation(request)
        if self._held is None or not self._width.fits(in_flight, self._held.reservation):
            return None
        handed, self._held = self._held, None
        return handed

    def _with_reservation(self, request: RunRequest) -> Handed:
        return Handed(request, self._reserver.reserve(request, self.controller.needed_mib(request.run)))

    def _configuration(self, handed: Handed) -> dict[str, Any]:
        """What Tune keeps of a trial: what it asks for, and all that its worker is told as one text."""
        told = {
            "request": handed.request.to_dict(),
            "reservation": handed.reservation.to_dict(),
            "watching": self._watch.watching.to_dict(),
        }
        return {CONFIGURATION: json.dumps(told), CPUS: handed.reservation.cpus, GPUS: handed.reservation.gpus}

    def _died(self, request: RunRequest, death: Death, begun: bool = True) -> None:
        run = request.run
        silent = self._watch.take_kill(request.label)
        reason = death.reason if silent is None else f"it was silent for {silent:.0f} s and was killed"
        self._leave(request.label)
        if request.label in self._over or self.interruption.requested:
            self._forget(request)
            return
        if death.cause != "replaced":
            (self._deaths if begun else self._never_begun)[run] += 1
        if death.cause == "oom" and begun:
            self._lose(request, f"the worker process was killed for memory: {reason}", "oom")
        elif self._deaths[run] > RESTARTS_AFTER_DEATH:
            self._lose(request, f"the worker process died {self._deaths[run]} times, the last time: {reason}")
        elif self._never_begun[run] >= PROCESSES_LOST_BEFORE_A_BEGIN:
            self._lose(request, f"{self._never_begun[run]} processes died before they took the run: {reason}")
        else:
            self._again.append(run)

    def _lose(self, request: RunRequest, reason: str, outcome: str = "failed") -> None:
        self.controller.on_lost(request.run, reason, outcome)
        self._forget(request)

    def _forget(self, request: RunRequest) -> None:
        """A sweep has more runs than should be remembered: Tune is through with this attempt."""
        self._over.discard(request.label)
        if self.controller.has_ended(request.run):
            self._deaths.pop(request.run, None)
            self._never_begun.pop(request.run, None)

    def _leave(self, label: str) -> None:
        """The worker is at work on it no more."""
        self.attendance.leave(label)
        self._watch.forget(label)
