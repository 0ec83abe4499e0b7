"""Ctrl-C while a sweep runs: first politely, so that runs in flight can keep a checkpoint, then at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_S = 10.0
"""How long after the first Ctrl-C the runs in flight have to end their step and to write a checkpoint."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Set by the first SIGINT or SIGTERM; whoever drives the sweep looks at :attr:`requested` and comes to an end.

    A second signal, or the end of the grace, raises KeyboardInterrupt wherever the main thread is, but not within
    :meth:`shielded`. In another thread than the main one there are no signals and nothing is ever requested.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.requested = False
        self._grace_s = grace_s
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._watching = False
        self._shields = 0
        self._urgent = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Takes the signals for as long as the context lasts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._pressed) for number in _SIGNALS}
        self._watching = True
        try:
            yield
        finally:
            self._end_watch()
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Work that must not be torn, such as writing an event: KeyboardInterrupt waits until it is done."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._urgent and not self._shields:
            self._urgent = False
            raise KeyboardInterrupt

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if not self._watching:
            return
        if not self.requested:
            self.requested = True
            self._timer = threading.Timer(self._grace_s, self._press_again)
            self._timer.daemon = True
            self._timer.start()
        elif self._shields:
            self._urgent = True
        else:
            raise KeyboardInterrupt

    def _press_again(self) -> None:
        with self._lock:
            main = threading.main_thread().ident
            if self._watching and main is not None:
                signal.pthread_kill(main, signal.SIGINT)

    def _end_watch(self) -> None:
        """No signal of the timer may arrive at the handlers that are put back."""
        with self._lock:
            self._watching = False
        if self._timer is not None:
            self._timer.cancel()
