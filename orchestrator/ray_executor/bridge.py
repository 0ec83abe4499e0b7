"""Between Tune's hooks and the controller; it also measures how long each hook takes.

A worker's death is dealt with here and not by Tune, which cannot tell why a process died and forgets a run whose process died
between two runs: a run that is to go on is handed out again, under another of Tune's ids, and goes on from its checkpoint. So is
one whose worker says that it has to leave its machine.
"""

from __future__ import annotations

import functools
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from orchestrator.packing import GpuMemory, Reservation, Reserver
from orchestrator.ray_executor.death import Death, read_death
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.lives import Lives
from orchestrator.ray_executor.silence import Attendance
from orchestrator.ray_executor.watch import StallWatch
from orchestrator.ray_executor.width import Width
from orchestrator.sweep.controller import SweepController
from trainables.ray_trainable import CONFIGURATION, PAYLOAD
from trainables.training.request import RunRequest, run_of

if TYPE_CHECKING:
    from orchestrator.ray_executor.quarantine import Quarantine

CPUS, GPUS = "cpu", "gpu"
"""The keys of Tune's configuration under which stands what a trial asks for."""

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
        quarantine: Quarantine | None = None,
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
        self._quarantine = quarantine
        self._gpus: Sequence[GpuMemory] = ()
        """Those that the reserver knows of."""
        self._handed: dict[str, Handed] = {}
        """By Tune's trial."""
        self._held: deque[RunRequest] = deque()
        """What is next, but what it needs is not known yet or has no room; at most one new run, and resumed ones before it."""
        self._again: deque[str] = deque()
        """Runs to be handed out again."""
        self._undecided: list[RunRequest] = []
        """Those of which it is not known yet whether they are."""
        self._errors: dict[str, str] = {}
        self._begun: set[str] = set()
        self._lives = Lives(watch.nodes)
        self._over: set[str] = set()
        """The attempts that have ended and whose trial Tune has not ended yet."""
        controller.may_retry = reserver.fits

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its hooks into a file that is never read."""
        return {}

    @property
    def in_flight(self) -> bool:
        """Whether a run is being trained or waits to be handed out again."""
        return bool(self._handed or self._again or self._held or self._undecided)

    @_hook
    def turn(self) -> None:
        """Tune's control loop has gone round."""
        self.attendance.turn()
        if self._quarantine:
            if self._quarantine.gpus is not self._gpus:
                self._gpus = self._quarantine.gpus
                self._reserver.joined(self._gpus)
            for label, text in self._quarantine.warnings():
                self.controller.warn(run_of(label), text)

    @_hook
    def suggest(self, tune_trial: str) -> dict[str, Any] | Literal["finished"] | None:
        """The configuration of the next run; None when there is none at the moment: a run in flight may come back, or room."""
        self._decide_again()
        if self.interruption.requested:
            return "finished"
        if self._quarantine and self._quarantine.is_settling():
            return None
        handed = self._next()
        if handed is None:
            return None if self.in_flight else "finished"
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
        request = handed.request
        goes_on = self.controller.on_result(payload["run"], payload) and not self.interruption.requested
        self._reserver.learn(request, self.controller.state.runs[request.run].metrics)
        self._lives.progressed(request.run, payload["progress"])
        if goes_on and not payload.get("leaving"):
            self.attendance.speak(request.label)
            return True
        if goes_on:
            self._again.append(request.run)
        self._over.add(request.label)
        self._leave(request.label)
        return False

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
        is_open = self._width.is_open(in_flight)
        if is_open:
            if self._again:
                self._held.appendleft(self.controller.hand_out_again(self._again.popleft()))
            elif not self._held and (request := self.controller.next_run()) is not None:
                self._held.append(request)
        if not self._held or not (self._is_ready(self._held[0], in_flight) and is_open):
            return None
        request = self._held[0]
        reservation = self._reserver.reserve(request, self.controller.needed_mib(request.run))
        return Handed(self._held.popleft(), reservation) if self._width.fits(in_flight, reservation) else None

    def _is_ready(self, request: RunRequest, in_flight: list[Reservation]) -> bool:
        """Whether it is known what the run needs; where there is nobody else to listen to, that may take its time."""
        return not in_flight or self._reserver.is_ready(request)

    def _configuration(self, handed: Handed) -> dict[str, Any]:
        """What Tune keeps of a trial: what it asks for, and all that its worker is told as one text."""
        told = {
            "request": handed.request.to_dict(),
            "reservation": handed.reservation.to_dict(),
            "watching": self._watch.watching.to_dict(),
            "tenancy": self._quarantine.to_dict() if self._quarantine else None,
        }
        return {CONFIGURATION: json.dumps(told), CPUS: handed.reservation.cpus, GPUS: handed.reservation.gpus}

    def _died(self, request: RunRequest, death: Death, begun: bool = True) -> None:
        silent, node = self._watch.take_kill(request.label), self._watch.node_of(request.label)
        if silent is not None and death.cause != "lost":
            death = Death("died", f"it was silent for {silent:.0f} s and was killed")
        self._leave(request.label)
        if request.label in self._over or self.interruption.requested:
            self._forget(request)
        elif death.cause == "replaced":
            self._again.append(request.run)
        elif death.cause == "oom" and begun:
            self._lose(request, f"the worker process was killed for memory: {death.reason}", "oom")
        else:
            self._lives.died(request.run, death, begun, node)
            self._decide(request)

    def _decide(self, request: RunRequest) -> None:
        """Whether a run whose process died is handed out again."""
        verdict = self._lives.verdict(request.run)
        if verdict == "again":
            self._again.append(request.run)
        elif verdict == "wait":
            self._undecided.append(request)
        else:
            self._lose(request, self._lives.why_over(request.run) or "")

    def _decide_again(self) -> None:
        undecided, self._undecided = self._undecided, []
        for request in undecided:
            self._decide(request)

    def _lose(self, request: RunRequest, reason: str, outcome: str = "failed") -> None:
        self.controller.on_lost(request.run, reason, outcome)
        self._forget(request)

    def _forget(self, request: RunRequest) -> None:
        """A sweep has more runs than should be remembered: Tune is through with this attempt."""
        self._over.discard(request.label)
        if self.controller.has_ended(request.run):
            self._lives.forget(request.run)

    def _leave(self, label: str) -> None:
        """The worker is at work on it no more."""
        self.attendance.leave(label)
        self._watch.forget(label)
        if self._quarantine:
            self._quarantine.depart(label)
