"""Runs one request after another in a process: whatever happens comes back as a payload, never as an exception."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainables.exhibits import EXHIBITS
from trainables.finite import finite_metrics
from trainables.memory import DeviceBaseline, DeviceContext, MemoryMonitor, MemoryShare, SharedDevice
from trainables.notice import Notice
from trainables.storage.run_inputs import fetch_inputs
from trainables.training.keeper import CheckpointKeeper
from trainables.training.outcome import Begun, Outcome, Payload, RunError, outcome_of_exception
from trainables.training.protocol import Diverged, Session, StepReport, no_beat
from trainables.training.provenance import provenance
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

_CLEAN_MIB = 1.0
"""What may stay on the device after a run."""

_logger = logging.getLogger(__name__)


class RunWorker:
    """Life: ``start`` a request, ``advance`` until a payload has an outcome, ``stop``; then perhaps ``start`` the next one.

    A request whose folder has a checkpoint of the same fingerprint and seed continues from it: the first payload repeats the
    step that the checkpoint was written after, since its result may have been lost with the worker. A run that ends writes a
    last checkpoint, unless it diverged or failed, and one that completes its exhibits; what it held is freed at once, the cache
    of the allocator too. ``beat`` is called whenever the run has shown that it is alive. Once ``notice`` is given, each
    step ends with a checkpoint and says so.
    """

    def __init__(self, device: torch.device, *, beat: Callable[[], None] = no_beat, notice: Notice | None = None) -> None:
        self._device = device
        self._beat = beat
        self._notice = notice
        self._context = DeviceContext(device)
        self._share = MemoryShare()
        self._shared_device: SharedDevice | None = None
        self._monitor: MemoryMonitor | None = None
        self._baseline: DeviceBaseline | None = None
        self._leftover_mib = 0.0
        self._session: Session | None = None
        self._request: RunRequest | None = None
        self._fingerprint: str | None = None
        self._keeper: CheckpointKeeper | None = None
        self._ended: Payload | None = None

    @property
    def leftover_mib(self) -> float:
        """MiB that the last run left on the device when it was freed; 0 on the CPU, infinite where that cannot be known."""
        return self._leftover_mib

    @property
    def is_clean(self) -> bool:
        """False when the last run left something on the device: the next one needs a process of its own."""
        return self._leftover_mib <= _CLEAN_MIB

    def start(self, request: RunRequest, share: MemoryShare | None = None) -> None:
        """Sets up ``request``, which is kept within its ``share`` of the GPU; an error on the way is told by the first
        :meth:`advance`."""
        self.stop()
        self._request, self._fingerprint, self._ended = request, None, None
        self._share = share or MemoryShare()
        self._once: dict[str, float] = {}
        self._begun: Begun | None = None
        self._stepping = self._repeating = False
        self._keeper = CheckpointKeeper(request, self._notice)
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
            if self._ended is not None:
                self._free()
        return (self._ended or self._latest).to_dict()

    def stop(self) -> None:
        """Leaves the run, keeping a checkpoint if it had not ended, and frees what it held."""
        if self._ended is None:
            try:
                self._keep_last()
            except Exception as error:  # such as a device that no longer answers
                _logger.warning("the state of a run could not be kept: %s", error)
        self._free()
        self._request = self._keeper = self._ended = None

    def save(self, path: Path) -> bool:
        """Writes a checkpoint of the run; False when there is none, because it has ended or is in the middle of a step."""
        if self._session is None or self._stepping:
            return False
        self._session.save(path)
        return True

    def load(self, path: Path) -> None:
        """Continues the started run from ``path``; an error is told by the next :meth:`advance`."""
        session = self._session
        if session is not None:
            self._guarded(lambda: self._load(session, path))

    def _set_up(self, request: RunRequest) -> None:
        assert self._keeper is not None
        self._beat()
        self._fingerprint = request.fingerprint()
        task_type = request.resolved().task_type
        task_type.preload()
        fetch_inputs(request)
        kind: type[Session] = task_type.session or TrainingSession
        if not kind.measures_memory:
            self._set_up_memory()
        session = kind(request, self._device)
        session.beat = self._beat
        session.start()
        self._keeper.continue_session(session)
        self._once = session.once_metrics() | self._expected()
        self._begin(session)
        self._session = session
        self._beat()

    def _set_up_memory(self) -> None:
        if self._device.type == "cuda":
            self._shared_device = SharedDevice(self._context, self._share)
            self._shared_device.begin()
        self._monitor = MemoryMonitor(self._device)
        self._monitor.start()
        self._baseline = DeviceBaseline(self._device)

    def _expected(self) -> dict[str, float]:
        """In place of the session's own arithmetic, where whoever gave the GPU has a better figure."""
        predicted = self._share.predicted_mib if self._device.type == "cuda" else None
        return {} if predicted is None else {"vram/predicted_mib": predicted}

    def _load(self, session: Session, path: Path) -> None:
        session.load(path)
        self._begin(session)

    def _begin(self, session: Session) -> None:
        self._begun = Begun(session.progress, provenance(session.prepared, self._device, session.stages))
        self._repeating = session.progress > 0

    def _step(self) -> None:
        assert self._session is not None and self._keeper is not None
        self._stepping = True
        report = self._session.report_again() if self._repeating else self._session.step()
        if self._shared_device is not None and not self._repeating:
            self._shared_device.settle()
        self._stepping = self._repeating = False
        self._beat()
        self._keeper.keep(self._session, report)
        self._latest = self._payload(report, outcome="completed" if report.finished else None)
        if report.finished:
            # After the payload, whose memory is that of the run and not of drawing.
            self._ended = self._latest = self._with_exhibits(self._session, self._latest)

    def _with_exhibits(self, session: Session, payload: Payload) -> Payload:
        """Saves what a completed run has to show; where that fails, the payload is told with a warning."""
        assert self._request is not None and self._keeper is not None
        if self._request.folder is None:
            return payload
        self._beat()
        try:
            _save_exhibits(session, self._request.folder / EXHIBITS)
            self._keeper.send_exhibits()
        except Exception as error:
            told = RunError.of(error)
            warning = f"the run is complete, but its exhibits could not be saved: {told.type}: {told.message}"
            _logger.warning("%s: %s", payload.run, warning)
            payload = dataclasses.replace(payload, warning="\n".join(filter(None, (payload.warning, warning))))
        self._beat()
        return payload

    def _keep_last(self) -> None:
        """Not in the middle of a step, which an interrupt may have left undone."""
        if self._session is not None and self._keeper is not None and not self._stepping:
            self._keeper.keep_last(self._session)

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
        needed = self._shared_device.needed_mib(error) if self._shared_device is not None and outcome == "oom" else None
        self._ended = self._payload(report, outcome, RunError.of(error), needed)

    def _payload(
        self, report: StepReport, outcome: Outcome | None, error: RunError | None = None, needed_mib: float | None = None
    ) -> Payload:
        assert self._request is not None
        memory = self._monitor.metrics() if self._monitor else {}
        once, self._once = self._once, {}
        if once and self._shared_device is not None:
            once |= self._shared_device.once_metrics()
        begun, self._begun = self._begun, None
        return Payload(
            run=self._request.run,
            fingerprint=self._fingerprint,
            progress=report.progress,
            metrics=finite_metrics({**report.metrics, **memory}),
            once=finite_metrics(once),
            outcome=outcome,
            error=error,
            begun=begun,
            needed_mib=needed_mib,
            leaving=outcome is None and self._may_leave(),
            warning=self._keeper.take_warning() if self._keeper else None,
        )

    def _may_leave(self) -> bool:
        return self._session is not None and self._keeper is not None and self._keeper.may_leave(self._session)

    def _free(self) -> None:
        self._session = None
        if self._monitor is not None:
            with contextlib.suppress(Exception):
                self._monitor.stop()
            self._monitor = None
        if self._baseline is not None:
            self._leftover_mib = self._baseline.leftover_mib()
            self._baseline = None
        if self._shared_device is not None:
            self._shared_device.end()
            self._shared_device = None


def _save_exhibits(session: Session, folder: Path) -> None:
    """Without an empty folder where a run has nothing to show."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        session.save_exhibits(folder)
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
