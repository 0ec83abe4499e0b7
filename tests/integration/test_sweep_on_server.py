"""A whole sweep against a real MLflow server: complete, in few calls, and never waiting for it."""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow_servers import MlflowServer, Proxy
from small_sweeps import NO_HOOK_WAITS_S, Finished, run_sweep, small_space

from orchestrator.tracking.operations import RunUpdate
from orchestrator.tracking.store import MlflowStore

EPOCHS = 20


@pytest.fixture(scope="module")
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def updates() -> dict[str, list[float]]:
    """When each run was told its updates, by run key."""
    return defaultdict(list)


@pytest.fixture(scope="module")
def sweep(ray_session: None, proxy: Proxy, updates: dict[str, list[float]], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    deliver = MlflowStore.deliver

    def noted(store: MlflowStore, update: RunUpdate) -> None:
        updates[update.run].append(time.monotonic())
        deliver(store, update)

    document: dict[str, Any] = small_space(
        name="served", training={"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": EPOCHS}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowStore, "deliver", noted)
        return run_sweep(tmp_path_factory.mktemp("served"), document, proxy.uri)


def test_everything_is_delivered(sweep: Finished) -> None:
    assert (sweep.result.undelivered, sweep.result.tracking_error, sweep.result.completed_trials) == (0, None, 6)
    assert sweep.children.keys() == sweep.data.state.runs.keys()
    assert sweep.parent.info.status == "FINISHED"
    for run_id, child in sweep.children.items():
        run = sweep.data.state.runs[run_id]
        assert (child.info.status, child.data.tags["outcome"], run.tracking_id) == ("FINISHED", "completed", child.info.run_id)
        assert child.data.metrics == run.metrics
        history = {metric.step: metric.value for metric in sweep.client.get_metric_history(child.info.run_id, "val/loss")}
        assert history == run.curve and len(history) == EPOCHS


def test_artifacts_go_through_the_server(sweep: Finished) -> None:
    found = {file.path for file in sweep.client.list_artifacts(sweep.parent.info.run_id)}
    assert found == {"space.yaml", "table.md", "figure.png", "slices.png"}


def test_one_batch_a_run_and_flush(sweep: Finished, proxy: Proxy, updates: dict[str, list[float]]) -> None:
    keys = {run.info.run_id: run.data.tags["memsweep.run"] for run in sweep.mlflow_runs}
    batches = Counter({run_id: proxy.count("runs/log-batch", run_id) for run_id in keys})
    assert all(1 <= batches[run_id] <= len(updates[key]) for run_id, key in keys.items())
    endpoints: Counter[str] = Counter()
    for (endpoint, _), calls in proxy.calls.items():
        endpoints[endpoint] += calls
    assert endpoints["runs/create"] == len(keys)
    assert endpoints["runs/log-metric"] == endpoints["runs/log-parameter"] == endpoints["runs/set-tag"] == 0


def test_a_run_is_told_at_most_once_in_an_interval(updates: dict[str, list[float]], sweep: Finished) -> None:
    """The last flush comes when the sweep ends, whatever the interval."""
    for told in updates.values():
        assert all(later - earlier > 1.0 for earlier, later in itertools.pairwise(told[:-1])), told


def test_the_control_loop_never_waited_for_the_server(sweep: Finished) -> None:
    assert max(sweep.result.slowest_call_s.values()) < NO_HOOK_WAITS_S, sweep.result.slowest_call_s
