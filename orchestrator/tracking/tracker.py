"""What the driver's control loop calls to record a sweep in MLflow: every call only appends a line to a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.outcome import FinalStatus
from orchestrator.tracking.delivery import Delivery, describe
from orchestrator.tracking.operations import Operation, OperationKind, is_run_key
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.store import MlflowStore, StoreLocation, set_client_environment
from orchestrator.tracking.watermark import Watermark
from trainables.finite import finite_metrics

PARAM_CHARACTERS = 6000
"""MLflow's limit of a param's value; longer text is cut."""
TAG_CHARACTERS = 8000
"""MLflow's limit of a tag's value; longer text is cut."""


class Tracker:
    """Records runs through a spool folder; a background thread delivers to MLflow.

    No method but ``flush`` and ``close`` waits for anything but a short write to a local file, and none raises for an outage
    or a full disk: :attr:`last_error` tells. A run is named by a key that is unique in the store; MLflow's own id is told
    through ``on_run_id``, from the background thread. Opening a run that the store has already (after a restart) finds it by
    its tag ``memsweep.run``, sets its tags again and its status to RUNNING. Timestamps are fixed at the call, or given: what is
    handed over twice with the same timestamp is in the store once.

    What is handed over comes from a record whose events have positions: after :meth:`note` (position) and the delivery of all
    before it, :attr:`delivered` is that position, also in the next process, which hands over again what lies behind it.

    What the store refuses for good (a name it does not allow, a param that changed, a run that the user deleted) is counted
    in ``rejected``, told in ``last_rejection`` and kept in the folder's ``rejected.jsonl``; what the disk did not take is
    counted in ``lost``.

    Args:
        spool_folder: the folder of what is not delivered yet; what an earlier process left there is delivered
            first, or dropped (``afresh``).
        tracking_uri: MLflow's tracking URI.
        experiment: the name of the experiment; it is created where it does not exist.
        artifact_location: a URI for the artifacts of a new experiment; None lets the server choose.
        on_run_id: called with (run key, MLflow run id) as soon as the id is known in this process.
        interval_s: seconds between flushes.
        afresh: drops what an earlier process left in the folder, because the caller hands it over again.

    Raises:
        SpoolInUseError: if another living process delivers from this folder.
    """

    def __init__(
        self,
        spool_folder: Path,
        tracking_uri: str,
        experiment: str,
        artifact_location: str | None = None,
        on_run_id: Callable[[str, str], None] = lambda run_key, mlflow_run_id: None,
        interval_s: float = 2.0,
        afresh: bool = False,
    ) -> None:
        set_client_environment()
        self.rejected = 0
        self.last_rejection: str | None = None
        self.lost = 0
        self._spool_error: str | None = None
        self._unopened: deque[Operation] = deque()
        self._spool = Spool(spool_folder)
        self._watermark = Watermark(spool_folder / "delivered", tracking_uri)
        if afresh:
            self._spool.clear()
        location = StoreLocation(tracking_uri, experiment, artifact_location)
        self._delivery = Delivery(self._spool, MlflowStore(location, on_run_id, self._reject), interval_s, self._watermark)
        self._delivery.start()

    @property
    def pending(self) -> int:
        """Number of operations that are not delivered."""
        return self._spool.pending

    @property
    def delivered(self) -> int:
        """How many events of the record are in the store, those of earlier processes included."""
        return self._watermark.confirmed

    def forget_deliveries(self, position: int = 0) -> None:
        """As if nothing behind an event of the record had been delivered: the caller hands it over again."""
        self._watermark.reset(position)

    def note(self, position: int) -> None:
        """Everything up to this event of the record has been handed over."""
        self._watermark.noted = position

    @property
    def damaged(self) -> int:
        """Number of torn or damaged lines of earlier processes that were dropped."""
        return self._spool.damaged

    @property
    def last_error(self) -> str | None:
        """Why the last attempt to deliver failed, or, if it did not, why something could not be spooled; None if all could."""
        return self._delivery.last_error or self._spool_error

    def open_run(
        self,
        run_key: str,
        name: str,
        tags: Mapping[str, Any],
        params: Mapping[str, Any],
        parent_key: str | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Opens a run, or one that was closed again. ``params`` cannot be changed later (MLflow); long values are cut to
        6,000 characters."""
        payload = {
            "name": name,
            "parent": None if parent_key is None else _checked_key(parent_key),
            "tags": _texts(tags, TAG_CHARACTERS),
            "params": _texts(params, PARAM_CHARACTERS),
        }
        self._append("open", run_key, payload, timestamp_ms)

    def log_metrics(self, run_key: str, metrics: Mapping[str, float], step: int, timestamp_ms: int | None = None) -> None:
        """Records metrics at a step; non-finite values are dropped."""
        if finite := finite_metrics(metrics):
            self._append("metrics", run_key, {"values": finite, "step": int(step)}, timestamp_ms)

    def set_tags(self, run_key: str, tags: Mapping[str, Any]) -> None:
        """Sets tags; one that exists gets the new value."""
        if tags:
            self._append("tags", run_key, {"tags": _texts(tags, TAG_CHARACTERS)})

    def close_run(self, run_key: str, status: FinalStatus, timestamp_ms: int | None = None) -> None:
        """Ends a run, now or at the given time."""
        self._append("close", run_key, {"status": status}, timestamp_ms)

    def log_artifact(self, run_key: str, local_path: Path, artifact_path: str | None = None) -> None:
        """Uploads a file or folder, which must stay where it is until it is delivered."""
        self._append("artifact", run_key, {"local_path": str(local_path.resolve()), "artifact_path": artifact_path})

    def flush(self, timeout_s: float) -> bool:
        """Delivers now; whether everything is delivered within ``timeout_s`` seconds."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Flushes and ends the background thread; what is left (False) waits in the folder for the next process."""
        delivered = self.flush(timeout_s)
        self._delivery.stop()
        self._delivery.join(1.0)
        return delivered

    def _append(self, kind: OperationKind, run_key: str, payload: dict[str, Any], timestamp_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        operation = Operation(kind, _checked_key(run_key), now_ms if timestamp_ms is None else timestamp_ms, payload)
        try:
            self._append_unopened()
            self._spool.append(operation)
        except OSError as error:
            if kind == "open":
                self._unopened.append(operation)
            self.lost += 1
            self._watermark.break_off()
            self._spool_error = f"not handed over to MLflow: {describe(error)}"

    def _append_unopened(self) -> None:
        """Goes on where the disk was full: a run that is told of before it is opened gets a wrong time of its start for good."""
        while self._unopened:
            self._spool.append(self._unopened[0])
            self._unopened.popleft()

    def _reject(self, run_key: str, content: object, reason: str) -> None:
        self._spool.reject(run_key, content, describe(ValueError(reason)))
        self.rejected += 1
        self.last_rejection = f"{run_key}: {describe(ValueError(reason))}"


def _texts(values: Mapping[str, Any], characters: int) -> dict[str, str]:
    return {name: str(value)[:characters] for name, value in values.items()}


def _checked_key(run_key: str) -> str:
    if not is_run_key(run_key):
        raise ValueError(f"a run key is 1 to 250 letters, digits or any of ._:/@+-, got {run_key!r}")
    return run_key
