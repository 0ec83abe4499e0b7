"""What MLflow must hold of a sweep, worked out from its record alone, and what it does hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.outcome import OUTCOMES
from orchestrator.record import checked_events
from orchestrator.sweep.folder import SweepFolder
from orchestrator.tracking import RUN_KEY_TAG
from trainables.redaction import redact

Event = Mapping[str, Any]
PARENT = "sweep"


@dataclass
class Told:
    """A run as the record tells it, or as MLflow does; times in milliseconds since 1970."""

    name: str
    started: int
    status: str = "RUNNING"
    ended: int | None = None
    """None while it runs."""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """Without the id of the parent, which MLflow chooses."""
    points: list[tuple[str, int, float, int]] = field(default_factory=list)
    """Metric, step, value, time; sorted. A point that is there twice stands twice."""

    def without_times(self) -> Any:
        points = [(metric, step, value) for metric, step, value, _ in self.points]
        return self.name, self.status, self.params, self.tags, points


def told_by_record(folder: SweepFolder) -> dict[str, Told]:
    """By run key."""
    events = checked_events(folder.record)
    header, runs = events[0], {run: event for event in events if event["kind"] == "suggestion" for run in event["runs"]}
    told = {PARENT: _parent(header, events)}
    for event in events:
        if event["kind"] == "start" and event["run"] not in told:
            told[event["run"]] = _child(header, runs[event["run"]], event)
        if event.get("run") in told:
            _take(told[event["run"]], event)
    for key, run in told.items():
        run.tags |= _system_tags(f"{header['identity']}/{key}", run.name)
        run.points.sort()
    return {f"{header['identity']}/{key}": run for key, run in told.items()}


def _parent(header: Event, events: Sequence[Event]) -> Told:
    parent = Told(header["name"], _ms(header))
    parent.tags = {"memsweep.sweep": header["name"], "memsweep.kind": "sweep", "memsweep.task": header["task"]}
    for event in events:
        if event["kind"] in ("resume", "edit"):
            parent.status, parent.ended = "RUNNING", None
        elif event["kind"] == "end":
            parent.status, parent.ended = "KILLED" if event["interrupted"] else "FINISHED", _ms(event)
    return parent


def _child(header: Event, suggestion: Event, start: Event) -> Told:
    described = {name: suggestion[name] for name in ("study", "entry", "architecture", "trial", "fingerprint", "task")}
    described |= {"sweep": header["name"], "kind": "run", "seed": suggestion["runs"][start["run"]]}
    tags = {f"memsweep.{name}": redact(str(value)) for name, value in described.items()}
    return Told(redact(start["name"]), _ms(start), params=_texts(start["params"]), tags=tags)


def _take(run: Told, event: Event) -> None:
    match event["kind"]:
        case "start":
            run.status, run.ended = "RUNNING", None
        case "begin":
            run.tags |= {f"memsweep.version.{name}": value for name, value in event["provenance"].items() if value}
        case "warning":
            run.tags["warning"] = redact(event["message"])
        case "result":
            run.points += [(metric, event["progress"], value, _ms(event)) for metric, value in event["metrics"].items()]
        case "outcome":
            run.tags |= {"outcome": event["outcome"], **_error_tags(event["error"])}
            run.status, run.ended = OUTCOMES[event["outcome"]].mlflow_status, _ms(event)


def _error_tags(error: Mapping[str, str] | None) -> dict[str, str]:
    if error is None:
        return {}
    return _texts({"error": f"{error['type']}: {error['message']}", "traceback": error["traceback"]})


def _system_tags(key: str, name: str) -> dict[str, str]:
    return {RUN_KEY_TAG: key, "mlflow.runName": name, "mlflow.source.name": "memsweep", "mlflow.source.type": "LOCAL"}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: redact(str(value)) for name, value in values.items()}


def _ms(event: Event) -> int:
    return round(event["time"] * 1000)


def runs_in_mlflow(tracking_uri: str, experiment: str) -> list[Run]:
    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], max_results=10_000))


def told_by_mlflow(tracking_uri: str, experiment: str) -> dict[str, Told]:
    """By run key. Two runs of one key fail, and a child that is not below the parent."""
    runs = runs_in_mlflow(tracking_uri, experiment)
    told = {run.data.tags[RUN_KEY_TAG]: _told(MlflowClient(tracking_uri), run) for run in runs}
    assert len(told) == len(runs), "a run was created twice"
    parents = {run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs if run.info.run_id not in parents} <= parents
    return told


def _told(client: MlflowClient, run: Run) -> Told:
    points = [
        (metric, point.step, point.value, point.timestamp)
        for metric in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, metric)
    ]
    tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
    ended = None if run.info.status == "RUNNING" else run.info.end_time
    return Told(run.info.run_name, run.info.start_time, run.info.status, ended, run.data.params, tags, sorted(points))


def assert_mlflow_tells_the_record(folder: SweepFolder, tracking_uri: str, experiment: str) -> dict[str, Told]:
    """Names, times, statuses, params, tags and every point of every metric; what a sweep was made with stands at its parent."""
    expected, found = told_by_record(folder), told_by_mlflow(tracking_uri, experiment)
    assert found.keys() == expected.keys()
    for key, run in expected.items():
        if key.endswith(f"/{PARENT}"):
            assert found[key].params.keys() == {"task", "objective", "sampler", "scheduler", "seed"}
            run.params = found[key].params
        assert found[key] == run
    return found


def rows(database: Path, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table of a store on SQLite."""
    import sqlite3

    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)
