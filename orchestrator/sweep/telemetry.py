"""How a sweep appears in MLflow: one parent run, a child for each run, self-sufficient tags.

MLflow is a projection of the record: every event is told by the same rule when it happens and when it is told again, with the
time of the event, so that telling twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.document import SearchSpaceError
from orchestrator.outcome import OUTCOMES
from orchestrator.space.description import describe_plain
from orchestrator.space.reading import read_search_space_text
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.recorded_space import recorded_files
from orchestrator.sweep.state import Event, RunState, SweepState, TrialState
from orchestrator.tracking import Tracker
from trainables.exhibits import EXHIBITS
from trainables.redaction import redact

PARENT = "sweep"

REPORT_FILES = ("table.md", "summary.md", "by_*.md", "*.png")
"""What the parent run shows of the report."""


class Telemetry(Protocol):
    """Whoever is told of every event after it is recorded."""

    def tell(self, event: Event, state: SweepState, position: int) -> None:
        """``state`` has the event in it already; ``position`` is its number in the record, from 1."""
        ...


class NoTelemetry:
    """Says nothing; for tests and simulations."""

    def tell(self, event: Event, state: SweepState, position: int) -> None: ...


class MlflowTelemetry:
    """Tells a :class:`Tracker`. ``identity`` makes run keys unique among all sweeps of a store."""

    def __init__(self, tracker: Tracker, specification: SweepSpecification, identity: str, folder: Path) -> None:
        self.tracker = tracker
        self.specification = specification
        self.identity = identity
        self.folder = folder

    def key(self, run: str) -> str:
        return f"{self.identity}/{run}"

    def tell(self, event: Event, state: SweepState, position: int) -> None:
        teller = getattr(self, f"_tell_{event['kind']}", None)
        if teller is not None:
            teller(event, state, round(event["time"] * 1000) if "time" in event else None)
        self.tracker.note(position)

    def tell_again(self, events: Sequence[Event]) -> None:
        """Hands over what the record holds behind the last delivery, each event in the state of its time."""
        delivered = self.tracker.delivered
        if delivered >= len(events):
            return
        state = SweepState(self.specification.objective_names)
        for position, event in enumerate(events, start=1):
            state.apply(event)
            if position > delivered:
                self.tell(event, state, position)

    def _tell_sweep(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        specification = self._as_begun(event)
        tags = {"memsweep.sweep": self.specification.name, "memsweep.kind": "sweep", "memsweep.task": event["task"]}
        objectives = [f"{objective.mode} {objective.metric}" for objective in specification.objectives]
        params = {
            "task": event["task"],
            "objective": ", ".join(objectives),
            "sampler": specification.search.sampler,
            "scheduler": specification.scheduler.name,
            "seed": specification.search.seed,
        }
        self._open_parent(tags, params, time_ms)
        self.tracker.log_artifact(self.key(PARENT), self.folder / "space.yaml")

    def _tell_resume(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        self._open_parent({}, {}, time_ms)

    def _open_parent(self, tags: Mapping[str, Any], params: Mapping[str, Any], time_ms: int | None) -> None:
        name = redact(self.specification.name)
        self.tracker.open_run(self.key(PARENT), name, _redacted(tags), _redacted(params), None, time_ms)

    def _as_begun(self, event: Event) -> SweepSpecification:
        """The space before any edit: MLflow refuses a param that changed."""
        try:
            return read_search_space_text(event["space"], str(self.folder / "space.yaml"), (), recorded_files(event))
        except SearchSpaceError:  # written by a version that knew other fields
            return self.specification

    def _tell_edit(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        self._tell_resume(event, state, time_ms)
        self.tracker.log_artifact(self.key(PARENT), self.folder / "space.yaml")

    def _tell_start(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        run = state.runs[event["run"]]
        tags, params = self._tags(state.trials[run.trial], run), event.get("params", {})
        self.tracker.open_run(self.key(run.id), redact(run.name), _redacted(tags), _redacted(params), self.key(PARENT), time_ms)

    def _tags(self, trial: TrialState, run: RunState) -> dict[str, Any]:
        return {
            "memsweep.sweep": self.specification.name,
            "memsweep.kind": "run",
            "memsweep.task": trial.task,
            "memsweep.study": trial.study,
            "memsweep.entry": trial.entry,
            "memsweep.architecture": trial.architecture,
            "memsweep.trial": trial.id,
            "memsweep.seed": run.seed,
            "memsweep.fingerprint": trial.fingerprint,
        }

    def _tell_begin(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        known = dict(event["provenance"])
        shared = known.pop("stages", "")
        tags = {f"memsweep.version.{name}": value for name, value in known.items() if value}
        tags |= {f"memsweep.shared.{folder.rpartition('-')[0]}": folder for folder in shared.split()}
        self.tracker.set_tags(self.key(event["run"]), _redacted(tags))

    def _tell_prepared(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        seconds = event["metrics"].get("time/total_s", 0.0)
        told = f"{event['title']}: {seconds:.1f} s, {event['bytes'] / 2**20:.1f} MiB"
        self.tracker.set_tags(self.key(PARENT), _redacted({f"memsweep.shared.{event['stage']}": told}))

    def _tell_result(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        self.tracker.log_metrics(self.key(event["run"]), event["metrics"], event["progress"], time_ms)

    def _tell_warning(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        self.tracker.set_tags(self.key(event["run"]), _redacted({"warning": event["message"]}))

    def _tell_retry(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        """The run goes on in MLflow: its outcome is that of its second attempt."""
        told = f"ran out of memory; begun once more with {event['needed_mib']:.0f} MiB"
        self.tracker.set_tags(self.key(event["run"]), _redacted({"memsweep.retried": told}))

    def _tell_outcome(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        outcome, error = event["outcome"], event["error"]
        tags = {"outcome": outcome}
        if error:
            tags |= {"error": f"{error['type']}: {error['message']}", "traceback": error["traceback"]}
        self.tracker.set_tags(self.key(event["run"]), _redacted(tags))
        if outcome == "completed":
            self._log_folder(event["run"], self.folder / "trials" / event["run"] / EXHIBITS)
        self.tracker.close_run(self.key(event["run"]), OUTCOMES[outcome].mlflow_status, time_ms)

    def _tell_end(self, event: Event, state: SweepState, time_ms: int | None) -> None:
        report = self.folder / "report"
        for path in (path for pattern in REPORT_FILES for path in sorted(report.glob(pattern))):
            self.tracker.log_artifact(self.key(PARENT), path)
        self._log_folder(PARENT, report / "pictures")
        self.tracker.close_run(self.key(PARENT), "KILLED" if event["interrupted"] else "FINISHED", time_ms)

    def _log_folder(self, run: str, folder: Path) -> None:
        """As it is now, under its name; a folder that is empty, or is gone when the event is told again, is nothing to tell."""
        if folder.is_dir() and any(folder.iterdir()):
            self.tracker.log_artifact(self.key(run), folder)


def _redacted(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: redact(_text(value)) for name, value in values.items()}


def _text(value: Any) -> str:
    return describe_plain(value) if isinstance(value, Mapping) else str(value)
