"""The checkpoints of one run while it is in flight: when they are written, and what is told when they cannot be."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from trainables.exhibits import EXHIBITS
from trainables.notice import Notice
from trainables.storage.checkpoints import RunCheckpoints
from trainables.training.attempts import ATTEMPTS
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, CheckpointRefused
from trainables.training.outcome import tellable
from trainables.training.protocol import Session, StepReport
from trainables.training.request import RunRequest

_logger = logging.getLogger(__name__)


class CheckpointKeeper:
    """Writes the checkpoints into the folder of ``request`` (without one nothing is kept) and reads those of earlier attempts.

    The last one is kept whatever ``keep_checkpoints`` says, so that a run that was killed goes on; what stays after the end is
    decided by :func:`trainables.training.retention.apply_retention`. A file that cannot be read or written costs a warning,
    never the run. Once ``notice`` is given, each step writes one.
    """

    def __init__(self, request: RunRequest, notice: Notice | None = None) -> None:
        self._request = request
        self._notice = notice or Notice()
        self._saved_progress, self._tried_at = 0, time.monotonic()
        # Not what was published: an old process may write its first checkpoint when the run has ended elsewhere.
        self._superseded = [folder for folder in request.earlier if folder.parent.name == ATTEMPTS]
        self._stored = None if request.place is None else RunCheckpoints(request.place)
        self._told: set[str] = set()
        self._warnings: list[str] = []

    def continue_session(self, session: Session) -> None:
        """Loads the last checkpoint of the latest attempt that has one that fits."""
        refusals: list[Exception] = []
        if not self._load_latest(session, refusals) and self._request.attempt > 1:
            # Meanwhile the process of an earlier attempt may have written one where there was none, and removed the one before.
            refusals.clear()
            self._load_latest(session, refusals)
        for told in refusals:
            where = f"goes on from step {session.progress}" if session.progress else "starts from the beginning"
            self._warn(f"the run {where}: {told}")
        self._saved_progress, self._tried_at = session.progress, time.monotonic()

    def _load_latest(self, session: Session, refusals: list[Exception]) -> bool:
        for path in self._last_checkpoints(refusals):
            try:
                session.load(path)
                return True
            except FileNotFoundError:
                pass
            except CheckpointRefused as refusal:
                refusals.append(refusal)
        return False

    def _last_checkpoints(self, refusals: list[Exception]) -> Iterator[Path]:
        """Where the last checkpoints of the run may lie, the best first."""
        folders = [folder for folder in (self._request.folder, *self._request.earlier) if folder is not None]
        if self._stored is not None:
            try:
                yield from self._stored.fetched(folders[0])
            except OSError as error:
                refusals.append(error)
        # With a place: what could not be sent.
        yield from (folder / LAST_CHECKPOINT for folder in folders)

    def send_exhibits(self) -> None:
        """To where the run is kept, if that is not the folder in which they lie.

        Raises:
            OSError: they could not be sent.
        """
        if self._stored is not None and self._request.folder is not None:
            self._stored.send(self._request.folder / EXHIBITS, EXHIBITS)

    def keep(self, session: Session, report: StepReport) -> None:
        """After a step: writes what is due."""
        if report.improved and self._request.keep_checkpoints == "best":
            self._write(session, BEST_CHECKPOINT, "the run goes on, but its best state so far is not kept")
        due = time.monotonic() - self._tried_at >= self._request.checkpoint_seconds
        if report.finished or due or self._notice.given:
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

    def may_leave(self, session: Session) -> bool:
        """Whether the process has to leave and the run can go on elsewhere without losing a step."""
        return self._notice.given and session.progress > 0 and session.progress == self._saved_progress

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
            self._send(session, self._request.folder / name)
        except OSError as error:
            failure = f"{name} could not be written: {error.strerror or error}"
            if failure not in self._told:
                self._told.add(failure)
                self._warn(f"{failure}; {consequence}")
            return False
        return True

    def _send(self, session: Session, path: Path) -> None:
        """To where the run is kept; the disk of this machine need not hold it too."""
        if self._stored is None:
            return
        if path.name == LAST_CHECKPOINT:
            self._stored.send_last(path, session.progress)
        else:
            self._stored.send(path, path.name)
        path.unlink(missing_ok=True)

    def _warn(self, text: str) -> None:
        text = tellable(text if self._request.place is None else self._request.place.unnamed(text))
        self._warnings.append(text)
        _logger.warning("%s: %s", self._request.run, text)
