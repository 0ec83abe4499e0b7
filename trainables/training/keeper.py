"""The checkpoints of one run while it is in flight: when they are written, and what is told when they cannot be."""

from __future__ import annotations

import contextlib
import logging
import time

from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, CheckpointRefused
from trainables.training.outcome import tellable
from trainables.training.protocol import Session, StepReport
from trainables.training.request import RunRequest

_logger = logging.getLogger(__name__)


class CheckpointKeeper:
    """Writes the checkpoints into the folder of ``request`` (without one nothing is kept) and reads those of earlier attempts.

    The last one is kept whatever ``keep_checkpoints`` says, so that a run that was killed goes on; what stays after the end is
    decided by :func:`trainables.training.retention.apply_retention`. A file that cannot be read or written costs a warning,
    never the run.
    """

    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self._saved_progress, self._tried_at = 0, time.monotonic()
        self._superseded = list(request.earlier)
        self._told: set[str] = set()
        self._warnings: list[str] = []

    def continue_session(self, session: Session) -> None:
        """Loads the last checkpoint of the latest attempt that has one that fits."""
        refusals = []
        for folder in filter(None, (self._request.folder, *self._request.earlier)):
            try:
                session.load(folder / LAST_CHECKPOINT)
                break
            except FileNotFoundError:
                pass
            except CheckpointRefused as refusal:
                refusals.append(refusal)
        for told in refusals:
            where = f"goes on from step {session.progress}" if session.progress else "starts from the beginning"
            self._warn(f"the run {where}: {told}")
        self._saved_progress, self._tried_at = session.progress, time.monotonic()

    def keep(self, session: Session, report: StepReport) -> None:
        """After a step: writes what is due."""
        if report.improved and self._request.keep_checkpoints == "best":
            self._write(session, BEST_CHECKPOINT, "the run goes on, but its best state so far is not kept")
        if report.finished or time.monotonic() - self._tried_at >= self._request.checkpoint_seconds:
            self.keep_last(session)

    def keep_last(self, session: Session) -> None:
        """Writes the last checkpoint unless it is there already."""
        if session.progress == self._saved_progress:
            return
        consequence = f"the run goes on, but a restart would begin at step {self._saved_progress + 1}"
        if self._write(session, LAST_CHECKPOINT, consequence):
            self._saved_progress = session.progress
            self._remove_superseded()
        self._tried_at = time.monotonic()

    def _remove_superseded(self) -> None:
        """This attempt has a checkpoint of its own now; a best one of an earlier attempt may still be the best."""
        superseded, self._superseded = self._superseded, []
        for folder in superseded:
            with contextlib.suppress(OSError):
                (folder / LAST_CHECKPOINT).unlink(missing_ok=True)

    def take_warning(self) -> str | None:
        """What went wrong since the last call; each reason is told once a run."""
        warnings, self._warnings = self._warnings, []
        return "\n".join(warnings) or None

    def _write(self, session: Session, name: str, consequence: str) -> bool:
        if self._request.folder is None:
            return False
        try:
            session.save(self._request.folder / name)
        except OSError as error:
            failure = f"{name} could not be written: {error.strerror or error}"
            if failure not in self._told:
                self._told.add(failure)
                self._warn(f"{failure}; {consequence}")
            return False
        return True

    def _warn(self, text: str) -> None:
        text = tellable(text)
        self._warnings.append(text)
        _logger.warning("%s: %s", self._request.run, text)
