"""Between Tune's hooks and the controller; it also measures how long each hook takes."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from orchestrator.sweep.controller import SweepController
from trainables.ray_trainable import PAYLOAD

P = ParamSpec("P")
T = TypeVar("T")


def _timed(method: Callable[Concatenate[Bridge, P], T]) -> Callable[Concatenate[Bridge, P], T]:
    @functools.wraps(method)
    def measured(self: Bridge, *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            taken = time.perf_counter() - started
            self.slowest_call_s[method.__name__] = max(taken, self.slowest_call_s.get(method.__name__, 0.0))

    return cast("Callable[Concatenate[Bridge, P], T]", measured)


class Bridge:
    """One per Tune run. Tune's trial ids are its own; a run is named by its request."""

    def __init__(self, controller: SweepController, cpus: float) -> None:
        self.controller = controller
        self.slowest_call_s: dict[str, float] = {}
        self._cpus = cpus
        self._runs: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its hooks into a file that is never read."""
        return {}

    @_timed
    def suggest(self, tune_trial: str) -> dict[str, Any] | None:
        """The configuration of the next run; None when there is none."""
        request = self.controller.next_run()
        if request is None:
            return None
        self._runs[tune_trial] = request.run
        return {"request": request.to_dict(), "cpus": self._cpus}

    @_timed
    def result(self, result: dict[str, Any]) -> bool:
        """Takes a result; returns whether the run goes on."""
        payload = json.loads(result[PAYLOAD])
        return self.controller.on_result(payload["run"], payload)

    @_timed
    def ended(self, tune_trial: str, error: bool) -> None:
        """Tune is through with a trial; only a death that was not retried any more is news."""
        run = self._runs.pop(tune_trial, None)
        if error and run is not None:
            self.controller.on_lost(run, "the worker process died, more often than it is restarted")
