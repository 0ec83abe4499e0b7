"""The thread that brings the record into the storage, renews the lease, and does there what may wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from orchestrator.storage.lease import LEASE, RENEWAL_S, Lease, LeaseLost, release, renewed
from orchestrator.storage.segments import SegmentWriter
from trainables.redaction import redact
from trainables.storage.folder import StoredFolder

HURRY_S = 1.0
"""Between two uploads of which somebody asked for the second."""
TOLD_AGAIN_S = 60.0
"""Between two words about a storage that cannot be written."""
TRIES = 5
"""Of what may wait; then it is told and left."""

Job = Callable[[], None]


class Uploader(threading.Thread):
    """Sends what was recorded at most every ``interval_s`` seconds, or after :data:`HURRY_S` where it matters.

    So a lost machine costs what was recorded in the last ``interval_s`` seconds and while an upload takes. A storage that cannot
    be written costs a warning, again each minute with how far behind it is; the sweep goes on. ``on_loss`` is called, once, when
    another driver has taken the sweep over: then nothing is written any more.
    """

    def __init__(
        self,
        sweep: StoredFolder,
        lease: Lease,
        writer: SegmentWriter,
        tell: Callable[[str], None],
        on_loss: Callable[[], None],
        interval_s: float = RENEWAL_S,
    ) -> None:
        super().__init__(name="memsweep-storage", daemon=True)
        self.loss: LeaseLost | None = None
        self._sweep = sweep
        self._lease = lease
        self._writer = writer
        self._tell = tell
        self._on_loss = on_loss
        self._interval_s = interval_s
        self._jobs: deque[tuple[Job, int]] = deque()
        self._wake = threading.Event()
        self._at_once = threading.Event()
        self._changed = threading.Condition()
        self._attempts = 0
        self._stopping = False
        self._up_to_date_at = time.monotonic()
        self._told_at: float | None = None
        self._error: Exception | None = None

    @property
    def behind_s(self) -> float:
        """How long ago all that was recorded lay in the storage, in s."""
        return time.monotonic() - self._up_to_date_at if self._writer.behind else 0.0

    def hurry(self) -> None:
        """Something was recorded that should not be lost."""
        self._wake.set()

    def later(self, job: Job) -> None:
        """Has something done in the thread, after the record."""
        self._jobs.append((job, 0))
        self._wake.set()

    def settle(self, timeout_s: float) -> bool:
        """Waits until everything is in the storage that was recorded or asked for by now; whether it is, after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        wanted = self._attempts + 2  # the one that may be going on has begun before
        while (remaining := deadline - time.monotonic()) > 0 and self.is_alive():
            self._wake.set()
            self._at_once.set()
            with self._changed:
                if self._attempts >= wanted and self._is_settled:
                    break
                self._changed.wait(min(remaining, HURRY_S))
        return self._is_settled

    def stop(self, timeout_s: float) -> bool:
        """Settles, releases the lease and ends the thread; whether everything is in the storage."""
        settled = self.settle(timeout_s)
        self._stopping = True
        self._wake.set()
        self._at_once.set()
        self.join(timeout_s)
        return settled

    @property
    def error(self) -> str | None:
        """Why the storage is behind."""
        return None if self._error is None else redact(str(self._error))

    @property
    def _is_settled(self) -> bool:
        return not self._jobs and not self._writer.behind

    def run(self) -> None:
        while not self._stopping and self.loss is None:
            self._attempt()
            with self._changed:
                self._attempts += 1
                self._changed.notify_all()
            self._wait()
        if self.loss is None and self._is_settled:
            self._guarded(self._release)

    def _release(self) -> None:
        release(self._sweep, self._lease)
        if not self._writer.sent:  # the sweep never began
            self._sweep.remove(LEASE)

    def _wait(self) -> None:
        began = time.monotonic()
        self._wake.wait(self._interval_s)
        self._wake.clear()
        self._at_once.wait(max(0.0, HURRY_S - (time.monotonic() - began)))  # several outcomes make one upload
        self._at_once.clear()

    def _attempt(self) -> None:
        if self._guarded(self._upload):
            self._up_to_date_at = time.monotonic()
            if self._told_at is not None:
                self._told_at = None
                self._tell(f"{self._sweep} has everything again")
            self._do_jobs()

    def _upload(self) -> None:
        self._lease = renewed(self._sweep, self._lease)
        renewed_at = time.monotonic()
        while self._writer.send_next():
            if time.monotonic() - renewed_at > RENEWAL_S:
                self._lease = renewed(self._sweep, self._lease)
                renewed_at = time.monotonic()

    def _do_jobs(self) -> None:
        """Until it is time for the record again."""
        due = time.monotonic() + self._interval_s
        while self._jobs and time.monotonic() < due:
            job, tries = self._jobs[0]
            done = self._guarded(job)
            self._jobs.popleft()
            if not done and tries + 1 < TRIES:
                self._jobs.append((job, tries + 1))
                return

    def _guarded(self, action: Job) -> bool:
        try:
            action()
        except LeaseLost as loss:
            self.loss = loss
            self._on_loss()
            return False
        except Exception as error:  # such as one of the file system that nobody has met yet
            self._error = error
            self._tell_trouble()
            return False
        self._error = None
        return True

    def _tell_trouble(self) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= TOLD_AGAIN_S:
            self._told_at = now
            self._tell(
                f"the storage is {self.behind_s:.0f} s behind ({self.error}); the sweep goes on, and it is tried again. "
                "If this machine is lost now, so is what was recorded since"
            )
