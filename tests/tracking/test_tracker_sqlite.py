"""The default store: an SQLite file that the background thread writes to."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracked_sweep import (
    artifact_text,
    assert_history_complete,
    assert_sweep_recorded,
    history,
    log_steps,
    open_child,
    open_sweep,
    record_sweep,
    runs_of,
    wait_until,
)

from orchestrator.tracking import StoreLocation, Tracker
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.watermark import Watermark

TrackerFactory = Callable[..., Tracker]


@pytest.fixture
def client(location: StoreLocation) -> MlflowClient:
    return MlflowClient(location.tracking_uri)


def test_a_sweep_is_recorded_completely(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory, tmp_path: Path
) -> None:
    (tmp_path / "table.md").write_text("results")
    told: dict[str, str] = {}
    tracker = tracker_on(location, on_run_id=told.__setitem__)
    record_sweep(tracker, "s", tmp_path / "table.md")
    assert tracker.pending == 27
    assert tracker.flush(60)
    assert (tracker.pending, tracker.last_error, tracker.rejected, tracker.lost) == (0, None, 0, 0)
    assert_sweep_recorded(client, "experiment", "s")
    assert told == {key: run.info.run_id for key, run in runs_of(client, "experiment").items()}
    assert artifact_text(client, told["s"], "report/table.md", tmp_path) == "results"
    assert list((tmp_path / "my storage" / "mlartifacts").iterdir())


def test_redelivery_changes_nothing(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory, tmp_path: Path
) -> None:
    (tmp_path / "table.md").write_text("results")
    tracker = tracker_on(location, spool=tmp_path / "one")
    record_sweep(tracker, "s", tmp_path / "table.md")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert tracker.flush(60)
    before = {key: run.info.run_id for key, run in runs_of(client, "experiment").items()}
    again = tracker_on(location, spool=tmp_path / "two")
    assert again.pending == 27 and again.flush(60)
    assert_sweep_recorded(client, "experiment", "s")
    assert {key: run.info.run_id for key, run in runs_of(client, "experiment").items()} == before


def test_a_resumed_run_goes_on_in_its_own_mlflow_run(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    first = tracker_on(location)
    open_sweep(first, "s")
    open_child(first, "s", "1")
    log_steps(first, "s/1", 1, 3)
    first.close_run("s/1", "KILLED")
    assert first.close(60)
    assert runs_of(client, "experiment")["s/1"].info.status == "KILLED"
    second = tracker_on(location)
    open_child(second, "s", "1")
    assert second.flush(60)
    assert runs_of(client, "experiment")["s/1"].info.status == "RUNNING"
    log_steps(second, "s/1", 4, 5)
    second.close_run("s/1", "FINISHED")
    assert second.flush(60)
    run = runs_of(client, "experiment")["s/1"]
    assert run.info.status == "FINISHED"
    assert_history_complete(client, run)


def test_non_finite_values_are_dropped(location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    tracker.log_metrics("s", {"loss": float("nan"), "accuracy": 0.5}, 1)
    tracker.log_metrics("s", {"loss": float("inf"), "other": float("-inf")}, 2)
    assert tracker.pending == 2
    assert tracker.flush(60)
    assert runs_of(client, "experiment")["s"].data.metrics == {"accuracy": 0.5}


def test_a_refused_value_costs_no_other(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory, tmp_path: Path
) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    assert tracker.flush(60)
    tracker.open_run("s", "renamed", {}, {"trials": 9, "new": 1})
    tracker.log_metrics("s", {"good": 1.0, "bad name!": 2.0, "also good": 3.0}, 1)
    tracker.log_artifact("s", tmp_path / "no such file")
    assert tracker.flush(60)
    run = runs_of(client, "experiment")["s"]
    assert run.data.metrics == {"good": 1.0, "also good": 3.0}
    assert (run.data.params, run.info.run_name) == ({"trials": "3", "new": "1"}, "renamed")
    assert tracker.rejected == 3 and "no longer exists" in (tracker.last_rejection or "")
    rejected = [json.loads(line) for line in (tmp_path / "spool" / "rejected.jsonl").read_text().splitlines()]
    assert "Changing param values" in rejected[0]["reason"] and rejected[1]["content"][0]["key"] == "bad name!"


def test_a_run_deleted_by_the_user_stays_deleted(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    open_child(tracker, "s", "1")
    assert tracker.flush(60)
    client.delete_run(runs_of(client, "experiment")["s/1"].info.run_id)
    log_steps(tracker, "s/1", 1, 5)
    tracker.close_run("s/1", "FINISHED")
    log_steps(tracker, "s", 1, 5)
    assert tracker.flush(60)
    assert set(runs_of(client, "experiment")) == {"s"}
    assert_history_complete(client, runs_of(client, "experiment")["s"])
    assert tracker.rejected == 2


def test_a_deleted_experiment_is_told_and_loses_nothing(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    log_steps(tracker, "s", 1, 2)
    assert tracker.flush(60)
    experiment_id = client.get_experiment_by_name("experiment").experiment_id
    client.delete_experiment(experiment_id)
    log_steps(tracker, "s", 3, 5)
    assert not tracker.flush(0.5)
    assert tracker.pending == 3 and f"--experiment-id {experiment_id}" in (tracker.last_error or "")
    client.restore_experiment(experiment_id)
    assert tracker.flush(60) and tracker.last_error is None
    assert_history_complete(client, runs_of(client, "experiment")["s"])


def test_a_failing_artifact_store_holds_up_no_metric(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory, tmp_path: Path
) -> None:
    (tmp_path / "table.md").write_text("results")
    (tmp_path / "blocked").write_text("a file where the store wants a folder")
    blocked = StoreLocation(location.tracking_uri, "experiment", (tmp_path / "blocked" / "inside").as_uri())
    tracker = tracker_on(blocked)
    open_sweep(tracker, "s")
    tracker.log_artifact("s", tmp_path / "table.md")
    assert not tracker.flush(1)
    log_steps(tracker, "s", 1, 5)
    assert not tracker.flush(1)
    assert tracker.pending == 1 and tracker.last_error is not None
    run = runs_of(client, "experiment")["s"]
    assert_history_complete(client, run)
    (tmp_path / "blocked").unlink()
    assert tracker.flush(60)
    assert artifact_text(client, run.info.run_id, "table.md", tmp_path) == "results"


def test_the_interval_alone_delivers(location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory) -> None:
    tracker = tracker_on(location, interval_s=0.05)
    open_sweep(tracker, "s")
    log_steps(tracker, "s", 1, 5)
    wait_until(lambda: tracker.pending == 0)
    assert_history_complete(client, runs_of(client, "experiment")["s"])


def test_a_callback_that_raises_stops_nothing(location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory) -> None:
    def refuse(run_key: str, mlflow_run_id: str) -> None:
        raise KeyError(run_key)

    tracker = tracker_on(location, interval_s=0.05, on_run_id=refuse)
    open_sweep(tracker, "s")
    log_steps(tracker, "s", 1, 5)
    assert tracker.flush(60)
    assert_history_complete(client, runs_of(client, "experiment")["s"])


def test_two_trackers_create_one_experiment(location: StoreLocation, client: MlflowClient, tmp_path: Path) -> None:
    store = (location.tracking_uri, location.experiment, location.artifact_location)
    trackers = [Tracker(tmp_path / f"spool{i}", *store, interval_s=3600) for i in range(2)]
    for i, tracker in enumerate(trackers):
        open_sweep(tracker, f"s{i}")
    threads = [threading.Thread(target=tracker.close, args=(60,)) for tracker in trackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(runs_of(client, "experiment")) == {"s0", "s1"}


def test_calls_are_short_while_the_thread_delivers(
    location: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(location, interval_s=0.05)
    open_sweep(tracker, "s")
    durations = []
    for step in range(300):
        begin = time.perf_counter()
        tracker.log_metrics("s", {"loss": 0.5}, step)
        durations.append(time.perf_counter() - begin)
        time.sleep(0.003)
    assert sorted(durations)[150] < 0.01 and max(durations) < 1.0
    assert tracker.flush(60)
    assert len(history(client, runs_of(client, "experiment")["s"], "loss")) == 300


@pytest.mark.parametrize("key", ["", "a'b", "a b", "a\n", "x" * 251])
def test_a_run_key_that_no_filter_can_hold_is_refused(location: StoreLocation, tracker_on: TrackerFactory, key: str) -> None:
    with pytest.raises(ValueError, match="run key"):
        tracker_on(location).close_run(key, "FINISHED")


def test_the_position_of_the_record_is_confirmed_when_all_before_it_is_delivered(
    location: StoreLocation, tracker_on: TrackerFactory, tmp_path: Path
) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    tracker.note(1)
    assert tracker.delivered == 0
    assert tracker.close(60) and tracker.delivered == 1
    assert tracker_on(location).delivered == 1
    elsewhere = Watermark(tmp_path / "spool" / "delivered", "sqlite:///other.db")
    assert elsewhere.confirmed == 0, "another store has nothing yet"


def test_what_the_disk_did_not_take_is_never_confirmed(
    location: StoreLocation, tracker_on: TrackerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = tracker_on(location)
    open_sweep(tracker, "s")
    tracker.note(1)
    assert tracker.flush(60)
    with monkeypatch.context() as full:
        full.setattr(Spool, "append", _no_space)
        log_steps(tracker, "s", 1, 1)
    tracker.note(2)
    log_steps(tracker, "s", 2, 2)
    tracker.note(3)
    assert tracker.close(60)
    assert (tracker.lost, tracker.delivered) == (1, 1)


def _no_space(spool: Spool, operation: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
