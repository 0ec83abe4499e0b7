"""What the driver's control loop calls to record a sweep in MLflow: every call only appends a line to a file."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from orchestrator.tracking.delivery import Delivery, describe
from orchestrator.tracking.operations import Operation, OperationKind
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.store import MlflowStore, StoreLocation, set_client_environment

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]

PARAM_CHARACTERS = 6000
"""MLflow's limit of a param's value; longer text is cut."""
TAG_CHARACTERS = 8000
"""MLflow's limit of a tag's value; longer text is cut."""

_RUN_KEY = re.compile(r"[A-Za-z0-9._:/@+-]{1,250}")


def local_location(storage: Path, experiment: str) -> StoreLocation:
    """The default store: the SQLite file ``mlflow.db`` and the folder ``mlartifacts`` in the storage folder."""
    folder = storage.resolve()
    return StoreLocation(f"sqlite:///{folder / 'mlflow.db'}", experiment, (folder / "mlartifacts").as_uri())


class Tracker:
    """Records runs through a spool folder; a background thread delivers to MLflow.

    No method but ``flush`` and ``close`` waits for anything but a short write to a local file, and none raises for an outage
    or a full disk: :attr:`last_error` tells. A run is named by a key that is unique in the store; MLflow's own id is told
    through ``on_run_id``, from the background thread. Opening a run that the store has already (after a restart) finds it by
    its tag ``memsweep.run`` and sets its tags again. Timestamps are fixed at the call.

    What the store refuses for good (a name it does not allow, a param that changed, a run that the user deleted) is counted
    in ``rejected``, told in ``last_rejection`` and kept in the folder's ``rejected.jsonl``; what the disk did not take is
    counted in ``lost``.

    Args:
        spool_folder: the folder of what is not delivered yet; what an earlier process left there is delivered first.
        tracking_uri: MLflow's tracking URI.
        experiment: the name of the experiment; it is created where it does not exist.
        artifact_location: a URI for the artifacts of a new experiment; None lets the server choose.
        on_run_id: called with (run key, MLflow run id) as soon as the id is known in this process.
        interval_s: seconds between flushes.

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
    ) -> None:
        set_client_environment()
        self.rejected = 0
        self.last_rejection: str | None = None
        self.lost = 0
        self._spool_error: str | None = None
        self._spool = Spool(spool_folder)
        location = StoreLocation(tracking_uri, experiment, artifact_location)
        self._delivery = Delivery(self._spool, MlflowStore(location, on_run_id, self._reject), interval_s)
        self._delivery.start()

    @property
    def pending(self) -> int:
        """Number of operations that are not delivered."""
        return self._spool.pending

    @property
    def damaged(self) -> int:
        """Number of torn or damaged lines of earlier processes that were dropped."""
        return self._spool.damaged

    @property
    def last_error(self) -> str | None:
        """Why the last attempt to deliver or to spool failed, or None if it did not."""
        return self._spool_error or self._delivery.last_error

    def open_sweep(self, run_key: str, name: str, tags: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        """Opens the parent run of a sweep."""
        self._open(run_key, name, tags, params, None)

    def open_run(
        self, run_key: str, name: str, tags: Mapping[str, Any], params: Mapping[str, Any], parent_key: str | None
    ) -> None:
        """Opens a child run. ``params`` cannot be changed later (MLflow); long values are cut to 6,000 characters."""
        self._open(run_key, name, tags, params, parent_key)

    def reopen_run(self, run_key: str) -> None:
        """Sets a run that was closed to RUNNING again."""
        self._append("reopen", run_key, {})

    def log_metrics(self, run_key: str, metrics: Mapping[str, float], step: int, timestamp_ms: int | None = None) -> None:
        """Records metrics at a step; non-finite values are dropped."""
        finite = {name: number for name, value in metrics.items() if math.isfinite(number := float(value))}
        if finite:
            self._append("metrics", run_key, {"values": finite, "step": int(step)}, timestamp_ms)

    def set_tags(self, run_key: str, tags: Mapping[str, Any]) -> None:
        """Sets tags; one that exists gets the new value."""
        if tags:
            self._append("tags", run_key, {"tags": _texts(tags, TAG_CHARACTERS)})

    def close_run(self, run_key: str, status: FinalStatus) -> None:
        """Ends a run now."""
        self._append("close", run_key, {"status": status})

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

    def _open(self, run_key: str, name: str, tags: Mapping[str, Any], params: Mapping[str, Any], parent_key: str | None) -> None:
        payload = {
            "name": name,
            "parent": None if parent_key is None else _checked_key(parent_key),
            "tags": _texts(tags, TAG_CHARACTERS),
            "params": _texts(params, PARAM_CHARACTERS),
        }
        self._append("open", run_key, payload)

    def _append(self, kind: OperationKind, run_key: str, payload: dict[str, Any], timestamp_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        operation = Operation(kind, _checked_key(run_key), now_ms if timestamp_ms is None else timestamp_ms, payload)
        try:
            self._spool.append(operation)
        except OSError as error:
            self.lost += 1
            self._spool_error = f"not recorded for MLflow: {describe(error)}"
        else:
            self._spool_error = None

    def _reject(self, run_key: str, content: object, reason: str) -> None:
        self._spool.reject(run_key, content, describe(ValueError(reason)))
        self.rejected += 1
        self.last_rejection = f"{run_key}: {describe(ValueError(reason))}"


def _texts(values: Mapping[str, Any], characters: int) -> dict[str, str]:
    return {name: str(value)[:characters] for name, value in values.items()}


def _checked_key(run_key: str) -> str:
    if not _RUN_KEY.fullmatch(run_key):
        raise ValueError(f"a run key is 1 to 250 letters, digits or any of ._:/@+-, got {run_key!r}")
    return run_key
