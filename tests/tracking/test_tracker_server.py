"""A real MLflow server: complete records, few calls, and no harm from any outage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_servers import MlflowServer, Proxy
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

TrackerFactory = Callable[..., Tracker]


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    return MlflowClient(mlflow_server.uri)


@pytest.fixture
def through_proxy(proxy: Proxy, request: pytest.FixtureRequest) -> StoreLocation:
    return StoreLocation(proxy.uri, request.node.name, None)


def test_a_sweep_is_recorded_completely(
    mlflow_server: MlflowServer,
    client: MlflowClient,
    tracker_on: TrackerFactory,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "table.md").write_text("results")
    tracker = tracker_on(StoreLocation(mlflow_server.uri, "complete", None))
    record_sweep(tracker, "s", tmp_path / "table.md")
    assert tracker.flush(60) and tracker.rejected == 0
    assert capfd.readouterr() == ("", "")
    assert_sweep_recorded(client, "complete", "s")
    run_id = runs_of(client, "complete")["s"].info.run_id
    assert artifact_text(client, run_id, "report/table.md", tmp_path) == "results"


def test_one_batch_a_run_and_flush(proxy: Proxy, through_proxy: StoreLocation, tracker_on: TrackerFactory) -> None:
    told: dict[str, str] = {}
    tracker = tracker_on(through_proxy, on_run_id=told.__setitem__)
    open_sweep(tracker, "s")
    for child in "123":
        open_child(tracker, "s", child)
    for flush in range(1, 4):
        for step in range(1, 51):
            for child in "123":
                tracker.log_metrics(f"s/{child}", {"a": step, "b": flush}, flush * 100 + step)
                tracker.set_tags(f"s/{child}", {"progress": step})
        assert tracker.flush(60)
        assert [proxy.count("runs/log-batch", told[f"s/{child}"]) for child in "123"] == [flush] * 3
    endpoints = {"runs/create": 4, "runs/search": 4, "experiments/create": 1, "runs/log-batch": 10}
    assert {name: sum(n for (e, _), n in proxy.calls.items() if e == name) for name in endpoints} == endpoints
    assert sum(proxy.calls.values()) == sum(endpoints.values()) + 2  # the experiment is looked up, created, looked up


def test_more_than_mlflow_takes_at_once_is_split(
    proxy: Proxy, through_proxy: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(through_proxy)
    tracker.open_run("s", "n", {f"tag{i}": i for i in range(120)}, {f"param{i}": i for i in range(120)})
    for step in range(1, 1201):
        tracker.log_metrics("s", {"a": step, "b": step}, step)
    assert tracker.flush(60) and tracker.rejected == 0
    run = runs_of(client, through_proxy.experiment)["s"]
    assert len(run.data.params) == 120 and run.data.tags["tag119"] == "119"
    assert sorted(history(client, run, "b")) == [(step, step) for step in range(1, 1201)]
    assert proxy.count("runs/log-batch", run.info.run_id) == 3


@pytest.mark.parametrize("trouble", [500, 429, 401, 404, "hang"])
def test_an_unwell_server_costs_neither_time_nor_data(
    trouble: str | int,
    proxy: Proxy,
    through_proxy: StoreLocation,
    client: MlflowClient,
    tracker_on: TrackerFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracker = tracker_on(through_proxy, interval_s=0.1)
    open_sweep(tracker, "s")
    log_steps(tracker, "s", 1, 2)
    assert tracker.flush(60)
    proxy.mode = trouble
    tracker.set_tags("s", {"state": "alone in its flush"})
    wait_until(lambda: tracker.last_error)
    assert log_steps(tracker, "s", 3, 5) < 1.0
    assert tracker.pending == 4 and not tracker.flush(0.1)
    proxy.mode = "pass"
    proxy.released.set()
    assert tracker.flush(60) and tracker.last_error is None
    run = runs_of(client, through_proxy.experiment)["s"]
    assert_history_complete(client, run)
    assert run.data.tags["state"] == "alone in its flush" and tracker.rejected == 0


def test_a_lost_answer_makes_no_second_run(
    proxy: Proxy, through_proxy: StoreLocation, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(through_proxy, interval_s=0.1)
    open_sweep(tracker, "s")
    assert tracker.flush(60)
    open_child(tracker, "s", "1")
    log_steps(tracker, "s/1", 1, 5)
    proxy.mode = "cut"
    assert tracker.flush(60)
    assert proxy.count("runs/create") == 2
    assert_history_complete(client, runs_of(client, through_proxy.experiment)["s/1"])


def test_a_creation_carried_out_late_leaves_one_run(
    proxy: Proxy,
    through_proxy: StoreLocation,
    client: MlflowClient,
    tracker_on: TrackerFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracker = tracker_on(through_proxy, interval_s=0.1)
    open_sweep(tracker, "s")
    assert tracker.flush(60)
    proxy.mode = "late"
    open_child(tracker, "s", "1")
    log_steps(tracker, "s/1", 1, 3)
    assert tracker.flush(60)
    proxy.released.set()
    experiment_id = client.get_experiment_by_name(through_proxy.experiment).experiment_id
    wait_until(lambda: len(client.search_runs([experiment_id])) == 3)
    log_steps(tracker, "s/1", 4, 5)
    assert tracker.flush(60)
    assert_history_complete(client, runs_of(client, through_proxy.experiment)["s/1"])


def test_a_server_killed_and_restarted_leaves_no_gap(
    mlflow_server: MlflowServer, client: MlflowClient, tracker_on: TrackerFactory
) -> None:
    tracker = tracker_on(StoreLocation(mlflow_server.uri, "outage", None), interval_s=0.05)
    open_sweep(tracker, "s")
    open_child(tracker, "s", "1")
    log_steps(tracker, "s/1", 1, 200)
    wait_until(lambda: tracker.pending < 200)
    mlflow_server.kill()
    longest = log_steps(tracker, "s/1", 201, 400)
    wait_until(lambda: tracker.last_error)
    longest = max(longest, log_steps(tracker, "s/1", 401, 600))
    tracker.close_run("s/1", "FINISHED")
    assert longest < 1.0 and tracker.pending > 200
    mlflow_server.start()
    assert tracker.flush(60)
    run = runs_of(client, "outage")["s/1"]
    assert run.info.status == "FINISHED"
    assert_history_complete(client, run, 600)
