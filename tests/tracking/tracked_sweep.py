"""A sweep with three children as the driver records it, and what a store must hold afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.tracking import RUN_KEY_TAG, StoreLocation, Tracker

STEPS = 5
STATUSES = {"1": "FINISHED", "2": "FAILED", "3": "KILLED"}


def local_location(storage: Path, experiment: str) -> StoreLocation:
    """A store as a sweep has by default: the SQLite file ``mlflow.db`` and the folder ``mlartifacts`` in the storage folder."""
    folder = storage.resolve()
    return StoreLocation(f"sqlite:///{folder / 'mlflow.db'}", experiment, (folder / "mlartifacts").as_uri())


def open_sweep(tracker: Tracker, sweep: str) -> None:
    tracker.open_run(sweep, "my sweep", {"memsweep.sweep": sweep}, {"trials": 3})


def open_child(tracker: Tracker, sweep: str, child: str) -> None:
    tags = {"memsweep.sweep": sweep, "architecture": "gpt"}
    tracker.open_run(f"{sweep}/{child}", f"gpt_{child}", tags, {"lr": 0.1, "note": "x" * 7000}, sweep)


def log_steps(tracker: Tracker, run_key: str, first: int, last: int) -> float:
    """Logs the steps first to last; the longest call in seconds."""
    longest = 0.0
    for step in range(first, last + 1):
        begin = time.perf_counter()
        tracker.log_metrics(run_key, metrics_at(step), step)
        longest = max(longest, time.perf_counter() - begin)
    return longest


def metrics_at(step: int) -> dict[str, float]:
    return {"train/loss": 1 / step, "val/segment_loss/00": step * 0.5}


def record_sweep(tracker: Tracker, sweep: str, artifact: Path) -> None:
    open_sweep(tracker, sweep)
    for child, status in STATUSES.items():
        open_child(tracker, sweep, child)
        log_steps(tracker, f"{sweep}/{child}", 1, STEPS)
        tracker.set_tags(f"{sweep}/{child}", {"outcome": status.lower()})
        tracker.close_run(f"{sweep}/{child}", status)  # type: ignore[arg-type]
    tracker.log_artifact(sweep, artifact, "report")
    tracker.close_run(sweep, "FINISHED")


def runs_of(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """The runs by run key; two runs of one key fail."""
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    by_key = {run.data.tags[RUN_KEY_TAG]: run for run in runs}
    assert len(by_key) == len(runs), "a run was created twice"
    return by_key


def history(client: MlflowClient, run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def assert_history_complete(client: MlflowClient, run: Run, last: int = STEPS) -> None:
    for metric in metrics_at(1):
        assert sorted(history(client, run, metric)) == [(step, metrics_at(step)[metric]) for step in range(1, last + 1)]


def assert_sweep_recorded(client: MlflowClient, experiment: str, sweep: str) -> None:
    runs = runs_of(client, experiment)
    assert set(runs) == {sweep, *(f"{sweep}/{child}" for child in STATUSES)}
    parent = runs[sweep]
    assert (parent.info.status, parent.data.params) == ("FINISHED", {"trials": "3"})
    for child, status in STATUSES.items():
        run = runs[f"{sweep}/{child}"]
        assert (run.info.status, run.info.run_name) == (status, f"gpt_{child}")
        assert run.info.end_time >= run.info.start_time
        assert run.data.params == {"lr": "0.1", "note": "x" * 6000}
        assert run.data.tags == expected_tags(sweep, child, parent, status)
        assert_history_complete(client, run)


def expected_tags(sweep: str, child: str, parent: Run, status: str) -> dict[str, Any]:
    return {
        RUN_KEY_TAG: f"{sweep}/{child}",
        "memsweep.sweep": sweep,
        "architecture": "gpt",
        "outcome": status.lower(),
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.runName": f"gpt_{child}",
        "mlflow.source.name": "memsweep",
        "mlflow.source.type": "LOCAL",
    }


def artifact_text(client: MlflowClient, run_id: str, path: str, folder: Path) -> str:
    return Path(client.download_artifacts(run_id, path, str(folder))).read_text()


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
