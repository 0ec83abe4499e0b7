"""Runs are predicted in a thread: that takes up to seconds each, in which the control loop would hear nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from trainables.training.request import RunRequest


class Ahead:
    """Calls ``predict`` for the run that is asked about, one at a time, without waiting for it; ``predict`` remembers what it
    found, and raises nothing."""

    def __init__(self, predict: Callable[[RunRequest], None]) -> None:
        self._predict = predict
        self._working: tuple[str, threading.Thread] | None = None
        self._known: str | None = None

    def is_known(self, request: RunRequest) -> bool:
        """Whether the prediction is there; where it is not, it is begun."""
        if self._working is not None and not self._working[1].is_alive():
            self._known, self._working = self._working[0], None
        if self._known == request.label:
            return True
        if self._working is None:
            thread = threading.Thread(target=self._predict, args=(request,), name="prediction")
            self._working = (request.label, thread)
            thread.start()
        return False
