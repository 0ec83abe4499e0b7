"""The tracker vanishes while a sweep runs on real Ray: nothing waits for it, and afterwards MLflow has what the record says.

The normal suite has outages of a few seconds; the long one takes the server away for a minute and holds every call to 100 ms.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_servers import MlflowServer, Proxy
from recorded_in_mlflow import assert_mlflow_tells_the_record
from small_sweeps import NO_HOOK_WAITS_S, small_space, write_space
from tracked_sweep import wait_until

from orchestrator.command_line.app import run as command
from orchestrator.command_line.sweep_commands import _conclude
from orchestrator.launch import LaunchOptions, LaunchResult, SweepObserver, launch
from orchestrator.launch import tracked as launch_tracked
from orchestrator.record import checked_events
from orchestrator.space.reading import read_search_space
from orchestrator.tracking import Tracker

PROMISED_S = 0.1
OUTAGE_S = 60.0
SERVER_TIMEOUT_S = "2"


class Outage(SweepObserver):
    """Begins when the first run has ended and ends after the fourth one, but not before the tracker was asked in vain.

    ``begin`` and ``end`` are called by a thread of its own, for they may take long.
    """

    def __init__(self, begin: Callable[[], object], end: Callable[[], object], runs: int = 4, lasts_s: float = 0.0) -> None:
        self.ended_runs = 0
        self.began_at = self.lasted_s = 0.0
        self.failure: BaseException | None = None
        self._begin, self._end, self._runs, self._lasts_s = begin, end, runs, lasts_s
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._pass)
        self._thread.start()

    def run_ended(self, *of: Any) -> None:
        with self._news:
            self.ended_runs += 1
            self._news.notify_all()

    def join(self) -> None:
        with self._news:
            self.ended_runs = self._runs  # where the sweep failed before
            self._news.notify_all()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _wait_for(self, runs: int) -> None:
        with self._news:
            self._news.wait_for(lambda: self.ended_runs >= runs)

    def _pass(self) -> None:
        try:
            self._wait_for(1)
            self._begin()
            began, self.began_at = time.monotonic(), time.time()
            self._wait_for(self._runs)
            while (left := began + self._lasts_s - time.monotonic()) > 0:
                threading.Event().wait(left)
            self._end()
            self.lasted_s = time.monotonic() - began
        except BaseException as failure:
            self.failure = failure


@pytest.fixture
def proxy(server: MlflowServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_tracked, "Tracker", functools.partial(Tracker, interval_s=0.2))
    monkeypatch.setattr("orchestrator.tracking.delivery.BACK_OFF_LIMIT_S", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", SERVER_TIMEOUT_S)


def sweep_of(name: str, **sections: Any) -> dict[str, Any]:
    return small_space(name=name, search={"sampler": "random", "trials": 2}, **sections)


def launched(storage: Path, document: dict[str, Any], uri: str, observer: SweepObserver) -> LaunchResult:
    specification = read_search_space(write_space(storage, document))
    return launch(specification, LaunchOptions(storage, specification.name, uri), observer)


def assert_nothing_noticed(result: LaunchResult, uri: str, longest_s: float = NO_HOOK_WAITS_S) -> None:
    """The sweep is complete, in its record and in MLflow, and nobody waited."""
    assert (result.undelivered, result.tracking_error, result.completed_trials) == (0, None, 6)
    assert max(result.slowest_call_s.values()) < longest_s, result.slowest_call_s
    runs = assert_mlflow_tells_the_record(result.folder, uri, result.folder.name)
    assert len(runs) == 7 and {run.status for run in runs.values()} == {"FINISHED"}
    assert {run.tags["outcome"] for key, run in runs.items() if not key.endswith("/sweep")} == {"completed"}
    assert not (result.folder.spool / "rejected.jsonl").exists()


def unwell(proxy: Proxy, *troubles: str | int) -> Outage:
    """One trouble after the other; the last one stays until the end."""

    def begin() -> None:
        for trouble in troubles:
            asked = sum(proxy.calls.values())
            proxy.mode = trouble
            wait_until(lambda asked=asked: sum(proxy.calls.values()) > asked)  # type: ignore[misc]

    def end() -> None:
        proxy.mode = "pass"
        proxy.released.set()

    return Outage(begin, end)


def test_an_unwell_server_is_noticed_nowhere(ray_session: None, server: MlflowServer, proxy: Proxy, tmp_path: Path) -> None:
    outage = unwell(proxy, 500, 429, "hang")
    result = launched(tmp_path, sweep_of("unwell"), proxy.uri, outage)
    outage.join()
    assert_nothing_noticed(result, server.uri)


def test_a_server_that_dies_and_comes_back_is_noticed_nowhere(ray_session: None, server: MlflowServer, tmp_path: Path) -> None:
    outage = Outage(server.kill, server.start)
    result = launched(tmp_path, sweep_of("restarted"), server.uri, outage)
    outage.join()
    assert_nothing_noticed(result, server.uri)


def test_a_sweep_without_its_tracker_ends_and_sync_delivers_it(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch_tracked, "DELIVERY_PATIENCE_S", 0.5)
    absent = MlflowServer(tmp_path)
    result = launched(tmp_path, sweep_of("alone"), absent.uri, SweepObserver())
    assert max(result.slowest_call_s.values()) < NO_HOOK_WAITS_S, result.slowest_call_s
    assert (result.completed_trials, result.interrupted) == (6, False) and result.undelivered > 6
    assert _conclude(result, absent.uri) == 0
    told = capsys.readouterr().err
    assert f"memsweep sync {result.folder.path}" in told and "could not be delivered" in told and "refused" in told

    sync = ["sync", str(result.folder.path), "--tracking-uri", absent.uri]
    assert command(sync) == 1
    assert "could not be delivered" in capsys.readouterr().err
    monkeypatch.setattr(launch_tracked, "DELIVERY_PATIENCE_S", 60.0)
    absent.start()
    try:
        assert command(sync) == 0
        assert capsys.readouterr().out == "everything that alone recorded is in MLflow\n"
        runs = assert_mlflow_tells_the_record(result.folder, absent.uri, "alone")
        assert len(runs) == 7
    finally:
        absent.kill()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_server_away_for_a_minute_costs_no_call_a_tenth_of_a_second(
    ray_session: None, server: MlflowServer, tmp_path: Path
) -> None:
    """Hundreds of results come while the server is away: every call of the sweep is measured."""
    outage = Outage(server.kill, server.start, runs=5, lasts_s=OUTAGE_S)
    document = sweep_of("minute", training=long_training())
    result = launched(tmp_path, document, server.uri, outage)
    outage.join()
    assert outage.lasted_s >= OUTAGE_S
    results = [event["time"] for event in checked_events(result.folder.record) if event["kind"] == "result"]
    assert sum(outage.began_at < moment < outage.began_at + OUTAGE_S for moment in results) > 500
    assert_nothing_noticed(result, server.uri, PROMISED_S)


@pytest.mark.long
@pytest.mark.parametrize("trouble", [500, 429, "hang"])
def test_an_unwell_server_costs_no_call_a_tenth_of_a_second(
    trouble: str | int, ray_session: None, server: MlflowServer, proxy: Proxy, tmp_path: Path
) -> None:
    outage = unwell(proxy, trouble)
    result = launched(tmp_path, sweep_of(f"answers-{trouble}-in-time"), proxy.uri, outage)
    outage.join()
    assert_nothing_noticed(result, server.uri, PROMISED_S)


def long_training() -> dict[str, Any]:
    """About a minute of a sweep on two cores."""
    return {"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": 600}
