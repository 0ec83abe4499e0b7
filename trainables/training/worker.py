"""Runs one request after another in a process: whatever happens comes back as a payload, never as an exception."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainables.memory import MemoryMonitor
from trainables.training.checkpoint import CheckpointRefused
from trainables.training.outcome import Outcome, Payload, RunError, outcome_of_exception
from trainables.training.protocol import Diverged, Session, StepReport
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

LAST_CHECKPOINT = "checkpoint.pt"
BEST_CHECKPOINT = "best.pt"

_logger = logging.getLogger(__name__)


class RunWorker:
    """Life: ``start`` a request, ``advance`` until a payload has an outcome, ``stop``; then perhaps ``start`` the next one.

    A request whose folder has a checkpoint of the same fingerprint and seed continues from it. ``checkpoint_seconds`` is the
    time between two checkpoints while a run goes on; its end always writes one, unless the run diverged or failed.
    """

    def __init__(self, device: torch.device, *, checkpoint_seconds: float = 30.0) -> None:
        self._device = device
        self._checkpoint_seconds = checkpoint_seconds
        self._monitor: MemoryMonitor | None = None
        self._session: Session | None = None
        self._request: RunRequest | None = None
        self._fingerprint: str | None = None
        self._ended: Payload | None = None

    def start(self, request: RunRequest) -> None:
        """Sets up ``request``; an error on the way is told by the first :meth:`advance`."""
        self.stop()
        self._request, self._fingerprint, self._ended = request, None, None
        self._once: dict[str, float] = {}
        self._guarded(lambda: self._set_up(request))

    def refuse(self, run: str, error: Exception) -> None:
        """In place of :meth:`start`, for a request that cannot even be read; told by the first :meth:`advance`."""
        self.stop()
        self._ended = Payload(run=run, fingerprint=None, progress=0, outcome="failed", error=RunError.of(error))

    def advance(self) -> dict[str, Any]:
        """One step of the session as a plain payload (:class:`Payload`); after the last one, that one again.

        Raises:
            RuntimeError: nothing was started.
        """
        if self._request is None and self._ended is None:
            raise RuntimeError("there is no run to advance: start one")
        if self._ended is None:
            self._guarded(self._step)
        return (self._ended or self._latest).to_dict()

    def stop(self) -> None:
        """Leaves the run, keeping a checkpoint if it had not ended, and frees what it held."""
        if self._session is not None and self._ended is None:
            self._save(LAST_CHECKPOINT)
        self._free()
        self._request = self._ended = None

    def save(self, path: Path) -> bool:
        """Writes a checkpoint of the run; False when there is none, because it failed or diverged."""
        if self._session is None:
            return False
        self._session.save(path)
        return True

    def load(self, path: Path) -> None:
        """Continues the started run from ``path``; an error is told by the next :meth:`advance`."""
        session = self._session
        if session is not None:
            self._guarded(lambda: session.load(path))

    def _set_up(self, request: RunRequest) -> None:
        self._fingerprint = request.fingerprint()
        self._monitor = MemoryMonitor(self._device)
        self._monitor.start()
        session_type = request.resolved().task_type.session or TrainingSession
        session: Session = session_type(request, self._device)
        session.start()
        self._continue(session, request)
        self._once = session.once_metrics()
        self._saved_progress, self._saved_at = session.progress, time.monotonic()
        self._session = session

    def _continue(self, session: Session, request: RunRequest) -> None:
        if request.folder is None:
            return
        try:
            session.load(request.folder / LAST_CHECKPOINT)
        except FileNotFoundError:
            return
        except CheckpointRefused as refusal:
            _logger.warning("%s starts from the beginning: %s", request.run, refusal)

    def _step(self) -> None:
        assert self._session is not None
        report = self._session.step()
        self._latest = self._payload(report, outcome="completed" if report.finished else None)
        if self._request is not None and self._request.keep_checkpoints == "best" and report.improved:
            self._save(BEST_CHECKPOINT)
        if report.finished or time.monotonic() - self._saved_at >= self._checkpoint_seconds:
            self._save(LAST_CHECKPOINT)
        if report.finished:
            self._ended = self._latest

    def _save(self, name: str) -> None:
        """Keeps a checkpoint where the request wants one; a full disk costs the checkpoint, not the run."""
        request, session = self._request, self._session
        if request is None or session is None or request.folder is None or request.keep_checkpoints == "none":
            return
        if name == LAST_CHECKPOINT and session.progress == self._saved_progress:
            return
        try:
            session.save(request.folder / name)
        except OSError as error:
            _logger.warning("%s: the checkpoint %s could not be written: %s", request.run, name, error)
            return
        if name == LAST_CHECKPOINT:
            self._saved_progress, self._saved_at = session.progress, time.monotonic()

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
            return
        except Exception as error:
            self._end_with(error)
        # Only here is the exception gone, which held the tensors of every frame that it passed.
        self._free()

    def _end_with(self, error: Exception) -> None:
        outcome: Outcome = "diverged" if isinstance(error, Diverged) else outcome_of_exception(error)
        progress = 0 if self._session is None else self._session.progress
        report = error.report if isinstance(error, Diverged) else StepReport(progress)
        self._ended = self._payload(report, outcome, RunError.of(error))

    def _payload(self, report: StepReport, outcome: Outcome | None, error: RunError | None = None) -> Payload:
        assert self._request is not None
        memory = self._monitor.metrics() if self._monitor else {}
        once, self._once = self._once, {}
        return Payload(
            run=self._request.run,
            fingerprint=self._fingerprint,
            progress=report.progress,
            metrics=_finite({**report.metrics, **memory}),
            once=_finite(once),
            outcome=outcome,
            error=error,
        )

    def _free(self) -> None:
        self._session = None
        if self._monitor is not None:
            with contextlib.suppress(Exception):
                self._monitor.stop()
            self._monitor = None
        if self._device.type == "cuda":
            with contextlib.suppress(Exception):
                torch.cuda.empty_cache()


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
