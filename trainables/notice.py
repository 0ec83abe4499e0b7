"""That a process has to leave soon: its machine is taken away, or somebody sent SIGTERM. Without Ray."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


class Notice:
    """Given once and never taken back. Who works looks at it after each step, keeps a checkpoint and says that it leaves."""

    def __init__(self) -> None:
        self.given = False

    def give(self) -> None:
        """The process has to leave soon."""
        self.given = True

    def take_sigterm(self, is_busy: Callable[[], bool]) -> None:
        """Makes SIGTERM give the notice, so that the step under way can end and be kept.

        What was done before on SIGTERM is done still by one that comes while nobody is busy, and by the second one. In another
        thread than the main one nothing is changed: Python takes signals there only.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)

        def told(number: int, frame: FrameType | None) -> None:
            if is_busy() and not self.given:
                self.give()
            elif callable(before):
                before(number, frame)
            elif before is not signal.SIG_IGN:
                raise SystemExit(128 + number)

        signal.signal(signal.SIGTERM, told)
