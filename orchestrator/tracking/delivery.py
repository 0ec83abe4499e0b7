"""The background thread that empties the spool into MLflow: merged, in order, with back-off, never raising."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from orchestrator.tracking.operations import Operation, RunUpdate, merge
from orchestrator.tracking.spool import SEGMENT_BYTES, Spool
from orchestrator.tracking.store import MlflowStore
from orchestrator.tracking.watermark import Watermark
from trainables.redaction import redact

BACK_OFF_LIMIT_S = 30.0


class Delivery(threading.Thread):
    """Flushes at most once in ``interval_s`` seconds, unless asked to at once or while an earlier outage's backlog lasts.

    A flush takes all closed segments (up to about the size of two), merges their operations into one update a run and
    deletes the segments when everything is delivered. A failed flush goes on where it stopped, after ``interval_s``,
    doubled with each failure up to 30 s. Artifacts follow the other operations, and one that fails goes back into the
    spool, so that an unreachable artifact store holds up no metric.
    """

    def __init__(self, spool: Spool, store: MlflowStore, interval_s: float, watermark: Watermark) -> None:
        super().__init__(name="memsweep-tracking", daemon=True)
        self.last_error: str | None = None
        self._spool = spool
        self._store = store
        self._interval_s = interval_s
        self._watermark = watermark
        self._failures = 0
        self._stopping = False
        self._wake = threading.Event()
        self._attempted = threading.Condition()
        self._begun = self._ended = 0
        """Attempts."""
        self._taken: dict[Path, int] = {}
        self._updates: deque[RunUpdate] = deque()
        self._artifacts: deque[Operation] = deque()

    def run(self) -> None:
        """Delivers until :meth:`stop`; then gives the spool back."""
        try:
            while not self._stopping:
                self._wake.wait(self._delay_s())
                self._wake.clear()
                self._begun += 1
                self._attempt()
                with self._attempted:
                    self._ended = self._begun
                    self._attempted.notify_all()
        finally:
            self._spool.close()

    def stop(self) -> None:
        """Asks the thread to end after the call to MLflow that it is in, if any."""
        self._stopping = True
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Delivers at once, without waiting for the interval; whether nothing is left after at most ``timeout_s``.

        Waits for one attempt even where nothing is spooled: it confirms that all events that were noted are in the store.
        """
        deadline = time.monotonic() + timeout_s
        next_attempt = self._begun + 1
        self._wake.set()
        with self._attempted:
            while (remaining := deadline - time.monotonic()) > 0 and self.is_alive():
                if not self._spool.pending and self._ended >= next_attempt:
                    break
                self._attempted.wait(remaining)
        if self._spool.pending and self.last_error is None:
            self.last_error = f"it has not taken all within {timeout_s:.0f} s"
        return self._spool.pending == 0

    def _delay_s(self) -> float:
        return min(BACK_OFF_LIMIT_S, self._interval_s * 2.0 ** max(0, min(self._failures, 32) - 1))

    def _attempt(self) -> None:
        try:
            if self._taken:
                self._spool.synchronize()
                self._deliver_taken()
            # Once an attempt: what is appended meanwhile waits for the next one, or a run would be told as often as it reports.
            position = self._watermark.noted
            self._spool.rotate()
            self._take()
            while self._taken and not self._stopping:
                self._deliver_taken()
                self._take()
            if not self._taken:
                self._watermark.confirm(position)
        except Exception as error:
            self._failures += 1
            self.last_error = describe(error)
        else:
            self._failures = 0
            if not self._taken:  # the attempt of a thread that was told to stop has delivered nothing
                self.last_error = None

    def _take(self) -> None:
        if self._taken:
            return
        taken: dict[Path, int] = {}
        operations: list[Operation] = []
        taken_bytes = 0
        for path in self._spool.closed_segments():
            segment = self._spool.read(path)
            taken[path] = len(segment.operations)
            operations += segment.operations
            taken_bytes += path.stat().st_size
            if taken_bytes >= SEGMENT_BYTES:
                break
        self._updates.extend(merge(operations))
        self._artifacts.extend(operation for operation in operations if operation.kind == "artifact")
        self._taken = taken

    def _deliver_taken(self) -> None:
        while self._updates and not self._stopping:
            self._store.deliver(self._updates[0])
            self._updates.popleft()
        failure = self._upload_artifacts()
        if self._updates or self._artifacts:
            return
        for path, operations in self._taken.items():
            self._spool.discard(path, operations)
        self._taken.clear()
        if failure is not None:
            raise failure

    def _upload_artifacts(self) -> Exception | None:
        while self._artifacts and not self._stopping:
            try:
                self._store.upload(self._artifacts[0])
            except Exception as error:
                while self._artifacts:
                    self._spool.append(self._artifacts[0])
                    self._artifacts.popleft()
                return error
            self._artifacts.popleft()
        return None


def describe(error: Exception) -> str:
    """One line on an error, without secrets: its text may quote an address with its password."""
    return redact(" ".join(str(error).split()) or type(error).__name__)[:1000]
