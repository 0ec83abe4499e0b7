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
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from orchestrator.ray_executor.death import Death, read_death
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.silence import Attendance
from orchestrator.ray_executor.watch import StallWatch
from orchestrator.sweep.controller import SweepController
from trainables.ray_trainable import CONFIGURATION, PAYLOAD
from trainables.training.request import RunRequest

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


class Bridge:
    """One per execution of a sweep. Tune's trial ids are its own; a run is named by its request."""

    def __init__(
        self, controller: SweepController, cpus: float, interruption: Interruption, attendance: Attendance, watch: StallWatch
    ) -> None:
        self.controller = controller
        self.interruption = interruption
        self.attendance = attendance
        self.slowest_call_s: dict[str, float] = {}
        self.error: Exception | None = None
        """What a hook raised."""
        self.results = 0
        """Results taken so far."""
        self._watch = watch
        self._cpus = cpus
        self._runs: dict[str, RunRequest] = {}
        self._again: deque[RunRequest] = deque()
        self._errors: dict[str, str] = {}
        self._begun: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._never_begun: Counter[str] = Counter()
        self._over: set[str] = set()
        """The runs that have ended and whose trial Tune has not ended yet."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its hooks into a file that is never read."""
        return {}

    @property
    def in_flight(self) -> bool:
        """Whether a run is being trained or waits to be handed out again."""
        return bool(self._runs or self._again)

    @_hook
    def suggest(self, tune_trial: str) -> dict[str, Any] | Literal["finished"] | None:
        """The configuration of the next run; None when there is none at the moment: a run in flight may come back."""
        request = None if self.interruption.requested else self._next_run()
        if request is None:
            return "finished" if self.interruption.requested or not self.in_flight else None
        self._runs[tune_trial] = request
        self.attendance.speak(request.run)
        configuration = {"request": request.to_dict(), "cpus": self._cpus, "watching": self._watch.watching.to_dict()}
        return {CONFIGURATION: json.dumps(configuration)}

    @_hook
    def result(self, result: dict[str, Any]) -> bool:
        """Takes a result; returns whether the run goes on."""
        payload = json.loads(result[PAYLOAD])
        run = payload["run"]
        self.results += 1
        goes_on = self.controller.on_result(run, payload) and not self.interruption.requested
        if goes_on:
            self.attendance.speak(run)
        else:
            self._over.add(run)
            self._leave(run)
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
        request, text, begun = self._runs.pop(tune_trial, None), self._errors.pop(tune_trial, None), tune_trial in self._begun
        self._begun.discard(tune_trial)
        if request is not None and error:
            self._died(request, read_death(text), begun)
        elif request is not None:
            self._forget(request.run)

    @_hook
    def fell(self, crash: Exception) -> None:
        """Tune gave up, as it does when Ray's memory monitor kills a worker; the runs in flight go on in a fresh one.

        Where nobody can be named as the reason, each of them has lost a life: it might be any of them, again and again.
        """
        death = read_death(str(crash))
        killed = {run for run, sender in self._watch.senders().items() if death.concerns(sender)}
        others = Death("replaced" if killed else "died", f"Tune gave up: {death.reason}")
        for trial, request in self._runs.items():
            self._died(request, death if request.run in killed else others, trial in self._begun)
        self._runs.clear()
        self._begun.clear()

    def _next_run(self) -> RunRequest | None:
        return self._again.popleft() if self._again else self.controller.next_run()

    def _died(self, request: RunRequest, death: Death, begun: bool = True) -> None:
        run = request.run
        silent = self._watch.take_kill(run)
        reason = death.reason if silent is None else f"it was silent for {silent:.0f} s and was killed"
        self._leave(run)
        if run in self._over or self.interruption.requested:
            self._forget(run)
            return
        if death.cause != "replaced":
            (self._deaths if begun else self._never_begun)[run] += 1
        if death.cause == "oom" and begun:
            self._lose(run, f"the worker process was killed for memory: {reason}", "oom")
        elif self._deaths[run] > RESTARTS_AFTER_DEATH:
            self._lose(run, f"the worker process died {self._deaths[run]} times, the last time: {reason}")
        elif self._never_begun[run] >= PROCESSES_LOST_BEFORE_A_BEGIN:
            self._lose(run, f"{self._never_begun[run]} processes died before they took the run: {reason}")
        else:
            self._again.append(request)

    def _lose(self, run: str, reason: str, outcome: str = "failed") -> None:
        self.controller.on_lost(run, reason, outcome)
        self._forget(run)

    def _forget(self, run: str) -> None:
        """A sweep has more runs than should be remembered: Tune is through with this one, and it does not come back."""
        self._over.discard(run)
        self._deaths.pop(run, None)
        self._never_begun.pop(run, None)

    def _leave(self, run: str) -> None:
        """The worker is at work on it no more."""
        self.attendance.leave(run)
        self._watch.forget(run)
