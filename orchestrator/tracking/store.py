"""The MLflow side: finds or creates runs and tells them their updates, so that telling twice does no harm."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.tracking.operations import Operation, RunUpdate

RUN_KEY_TAG = "memsweep.run"
_CLIENT_ENVIRONMENT = {
    # No retry inside a call: a repeated POST may create a second run, whereas our own retry looks for the first one.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class TrackingError(RuntimeError):
    """The store cannot take what we have until the user acts; the text says how."""


def set_client_environment() -> None:
    """Makes MLflow's client quiet and quick to fail in this process, unless the user has set these variables."""
    for name, value in _CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@dataclasses.dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where runs are recorded; without ``artifact_location`` the server chooses."""

    tracking_uri: str
    experiment: str
    artifact_location: str | None


class MlflowStore:
    """Used by one thread alone. Imports MLflow and connects at the first delivery.

    Args:
        location: the store and the experiment, which is created where it does not exist.
        on_run_id: told (run key, MLflow run id) when a run is found or created.
        reject: told (run key, content, reason) of what the store refuses for good.
    """

    def __init__(
        self,
        location: StoreLocation,
        on_run_id: Callable[[str, str], None],
        reject: Callable[[str, object, str], None],
    ) -> None:
        self._location = location
        self._on_run_id = on_run_id
        self._reject = reject
        self._connected: Any = None
        self._experiment_id: str | None = None
        self._run_ids: dict[str, str] = {}
        self._doubtful: set[str] = set()

    def deliver(self, update: RunUpdate) -> None:
        """Tells everything of one run: at most one log-batch call within MLflow's limits.

        MLflow's client splits above 1,000 entities, 1,000 metrics, 100 params or 100 tags. A refused batch is halved until
        the refused value stands alone, so that a bad name costs no other value.

        Raises:
            Exception: whatever MLflow raises, if the update is to be delivered again later.
        """
        with self._forgetting_what_vanished(update.run):
            run_id, tags = self._run_for(update)
            if update.status == "RUNNING" and tags is not None:
                self._end_or_reopen(run_id, update)
            self._log(run_id, update.run, _entities(update, (tags or {}) | update.tags))
            if update.status not in (None, "RUNNING"):
                self._end_or_reopen(run_id, update)
            if update.run in self._doubtful:
                self._find_run(update.run)
                if update.status not in (None, "RUNNING"):
                    self._doubtful.discard(update.run)

    def upload(self, operation: Operation) -> None:
        """Uploads one file or folder; one that no longer exists is rejected."""
        source, target = Path(operation.payload["local_path"]), operation.payload["artifact_path"]
        if not source.exists():
            self._reject(operation.run, operation.payload, "the file no longer exists")
            return
        with self._forgetting_what_vanished(operation.run):
            run_id = self._run_id(operation.run, operation.timestamp_ms)
            try:
                self._client.log_artifact(run_id, str(source), target)
            except Exception as error:
                if not _is_refusal(error):
                    raise
                self._reject(operation.run, operation.payload, str(error))

    @property
    def _client(self) -> Any:
        if self._connected is None:
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(max(logging.getLogger(name).level, logging.WARNING))
            self._connected = MlflowClient(tracking_uri=self._location.tracking_uri)
        return self._connected

    def _experiment(self) -> str:
        if self._experiment_id is None:
            name = self._location.experiment
            found = self._client.get_experiment_by_name(name) or self._create_experiment(name)
            if found.lifecycle_stage != "active":
                raise TrackingError(
                    f"the MLflow experiment {name!r} is deleted: restore it (mlflow experiments restore --experiment-id "
                    f"{found.experiment_id}) or choose another name (tracking.experiment); what is spooled waits"
                )
            self._experiment_id = str(found.experiment_id)
        return self._experiment_id

    def _create_experiment(self, name: str) -> Any:
        try:
            self._client.create_experiment(name, artifact_location=self._location.artifact_location)
        except Exception as error:
            if _error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.get_experiment_by_name(name)

    def _run_for(self, update: RunUpdate) -> tuple[str, dict[str, str] | None]:
        """The run's id, and the tags still to be set: None for a run created just now with all of them."""
        opening = update.opening
        if opening is None:
            return self._run_id(update.run, update.timestamp_ms), {}
        tags = opening.tags | _system_tags(update.run, opening.name)
        if opening.parent is not None:
            tags["mlflow.parentRunId"] = self._run_id(opening.parent, update.timestamp_ms)
        known = self._known_run(update.run)
        if known is not None:
            return known, tags
        try:
            return self._create_run(update.run, update.timestamp_ms, tags), None
        except Exception as error:
            if not _is_refusal(error):
                raise
            return self._run_id(update.run, update.timestamp_ms), tags

    def _run_id(self, run: str, timestamp_ms: int) -> str:
        """The id of a run that was opened earlier; if the store lost it, it is created again under its key."""
        return self._known_run(run) or self._create_run(run, timestamp_ms, _system_tags(run, run))

    def _known_run(self, run: str) -> str | None:
        if run not in self._run_ids:
            found = self._find_run(run)
            if found is not None:
                self._remember(run, found)
        return self._run_ids.get(run)

    def _find_run(self, run: str) -> str | None:
        """Finds a run by its key; of twins (see :meth:`_create_run`) the empty ones are deleted."""
        found = self._client.search_runs([self._experiment()], f"tags.`{RUN_KEY_TAG}` = '{run}'", max_results=10)
        if not found:
            return None
        known = [candidate for candidate in found if candidate.info.run_id == self._run_ids.get(run)]
        kept = known[0] if known else max(found, key=lambda candidate: len(candidate.data.metrics))
        for twin in found:
            empty = not twin.data.metrics and not twin.data.params
            if twin is not kept and empty and twin.info.start_time == kept.info.start_time:
                self._client.delete_run(twin.info.run_id)
        return str(kept.info.run_id)

    def _create_run(self, run: str, timestamp_ms: int, tags: dict[str, str]) -> str:
        try:
            created = self._client.create_run(self._experiment(), start_time=timestamp_ms, tags=tags)
        except Exception:
            # A server that hung carries the request out when it comes back, even after our second one: 11 of 15 times
            # with a stopped server. Such a run is looked for again at each of its updates.
            self._doubtful.add(run)
            raise
        self._remember(run, created.info.run_id)
        return self._run_ids[run]

    def _remember(self, run: str, run_id: str) -> None:
        self._run_ids[run] = run_id
        self._on_run_id(run, run_id)

    @contextmanager
    def _forgetting_what_vanished(self, run: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if _error_code(error) == "RESOURCE_DOES_NOT_EXIST":  # a store that was replaced: look everything up again
                self._run_ids.pop(run, None)
                self._experiment_id = None
            raise

    def _log(self, run_id: str, run: str, entities: list[Any]) -> None:
        try:
            self._client.log_batch(run_id, **_by_kind(entities))
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(entities) == 1 or self._is_deleted(run_id):
                self._reject(run, [dict(entity) for entity in entities], str(error))
                return
            middle = len(entities) // 2
            self._log(run_id, run, entities[:middle])
            self._log(run_id, run, entities[middle:])

    def _end_or_reopen(self, run_id: str, update: RunUpdate) -> None:
        try:
            if update.status == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            else:
                self._client.set_terminated(run_id, update.status, update.status_ms)
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._is_deleted(run_id)
            self._reject(update.run, {"status": update.status}, str(error))

    def _is_deleted(self, run_id: str) -> bool:
        """Whether the user deleted the run. Raises TrackingError if it went with its experiment, which may come back."""
        deleted = bool(self._client.get_run(run_id).info.lifecycle_stage != "active")
        if deleted:
            self._experiment_id = None
            self._experiment()
        return deleted


def _system_tags(run: str, name: str) -> dict[str, str]:
    # Given explicitly, so that no client or server fills in the user's name or the path of a script.
    return {
        RUN_KEY_TAG: run,
        "mlflow.runName": name or run,  # where it is empty, MLflow sets a second one beside it, and its database refuses both
        "mlflow.source.name": "memsweep",
        "mlflow.source.type": "LOCAL",
    }


def _entities(update: RunUpdate, tags: dict[str, str]) -> list[Any]:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(key, value) for key, value in update.params.items()]
    labels = [RunTag(key, value) for key, value in tags.items()]
    return params + labels + [Metric(m.name, m.value, m.timestamp_ms, m.step) for m in update.metrics]


def _by_kind(entities: list[Any]) -> dict[str, list[Any]]:
    kinds: dict[str, list[Any]] = {"metrics": [], "params": [], "tags": []}
    names = {"Metric": "metrics", "Param": "params", "RunTag": "tags"}
    for entity in entities:
        kinds[names[type(entity).__name__]].append(entity)
    return kinds


def _error_code(error: Exception) -> str | None:
    return getattr(error, "error_code", None)


def _is_refusal(error: Exception) -> bool:
    """Whether the store will never take this; anything else (unreachable, busy, not allowed) may pass later."""
    return _error_code(error) == "INVALID_PARAMETER_VALUE"
