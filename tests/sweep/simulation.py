"""A sweep in one process: the controller with a trainer that only pretends, so that every event can be placed by a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space_text import specified

from orchestrator.record import Journal, checked_events
from orchestrator.record.validation import RECORD_FORMAT
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.telemetry import NoTelemetry, Telemetry
from trainables.training.request import RunRequest

SPACE = """
task: {{name: mqar}}
model: {{dim: 64, n_layers: {{choice: [2, 4]}}, n_heads: {{choice: [1, 2, 4]}}}}
architectures:
  gpt: {{dk: {{int: [8, 96], step: 4}}, dv: {{int: [8, 96], step: 4}}}}
  unified_kv: {{du: {{int: [8, 128], step: 4}}}}
training: {{lr: {{float: [1e-4, 1e-2], log: true}}, epochs: 6}}
constraints: {{params: {{scope: block, target: 98560, tolerance: 2%}}}}
objective: {{metric: val/accuracy, mode: max}}
search: {search}
scheduler: {scheduler}
"""


def space(search: str = "{trials: 4}", scheduler: str = "none", **replaced: str) -> str:
    text = SPACE.format(search=search, scheduler=scheduler)
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


@dataclass
class Script:
    """How a run goes: accuracy by epoch, and how it ends if not by completing."""

    curve: list[float]
    ends_at: int | None = None
    outcome: str | None = None
    once: dict[str, float] = field(default_factory=lambda: {"params/total": 1.0})
    extra: dict[str, float] = field(default_factory=dict)


Scripts = Callable[[RunRequest], Script]


def by_structure(request: RunRequest) -> Script:
    """Completes; a function of the configuration and the seed alone, so that it does not matter when it is asked."""
    level = (request.fingerprint().encode()[0] * 7 + request.fingerprint().encode()[1] + request.seed) % 50
    return Script([level / 100 + epoch / 100 for epoch in range(request.training["epochs"])])


def payload(
    run: str, progress: int, metrics: dict[str, float], outcome: str | None = None, once: dict[str, float] | None = None
) -> Any:
    error = {"type": "Error", "message": outcome, "traceback": ""} if outcome not in (None, "completed") else None
    return {
        "run": run,
        "fingerprint": None,
        "progress": progress,
        "metrics": metrics,
        "once": once or {},
        "outcome": outcome,
        "error": error,
    }


@dataclass
class PretendedRun:
    """A worker with one run; ``step`` gives the next report."""

    request: RunRequest
    script: Script
    progress: int = 0
    fresh: bool = True

    def step(self) -> Any:
        budget = len(self.script.curve)
        self.progress = min(self.progress + 1, budget)
        once = self.script.once if self.fresh else {}
        self.fresh = False
        if self.progress == self.script.ends_at:
            return payload(self.request.run, self.progress - 1, {}, self.script.outcome, once)
        metrics = {"val/accuracy": self.script.curve[self.progress - 1], **self.script.extra}
        return payload(self.request.run, self.progress, metrics, "completed" if self.progress == budget else None, once)


class Killed(Exception):
    """The driver died here."""


class KillableJournal(Journal):
    """Dies when so many events have been written."""

    def __init__(self, path: Path, events_left: float = float("inf")) -> None:
        super().__init__(path)
        self.events_left = events_left

    def append(self, event: Any, durable: bool = False) -> int:
        if self.events_left <= 0:
            raise Killed
        self.events_left -= 1
        return super().append(event, durable)


_LIVES: dict[Path, Journal] = {}
"""The record of the latest life on each folder; a process that dies lets go of it, here the next life does."""


class Simulation:
    """One life of a driver: a controller on a folder, and workers that advance in turn."""

    def __init__(
        self,
        text: str,
        path: Path,
        scripts: Scripts = by_structure,
        concurrency: int = 1,
        events_left: float = float("inf"),
        telemetry: Telemetry | None = None,
    ) -> None:
        self.folder = SweepFolder(path)
        path.mkdir(parents=True, exist_ok=True)
        if path in _LIVES:
            _LIVES.pop(path).close()
        if not self.folder.record.exists():
            begin_record(self.folder, text)
        events = checked_events(self.folder.record)
        self.journal = _LIVES[path] = KillableJournal(self.folder.record, events_left)
        self.scripts = scripts
        self.concurrency = concurrency
        self.active: list[PretendedRun] = []
        self.controller = SweepController(
            specified(text), self.folder, self.journal, telemetry or NoTelemetry(), events=events, clock=lambda: 0.0
        )

    def run(self, steps: float = float("inf")) -> SweepController:
        """Until all has ended, or for so many reports."""
        while steps > 0:
            self._fill()
            if not self.active:
                break
            worker = self.active.pop(0)
            if self.controller.on_result(worker.request.run, worker.step()):
                self.active.append(worker)
            steps -= 1
        return self.controller

    def _fill(self) -> None:
        while len(self.active) < self.concurrency:
            request = self.controller.next_run()
            if request is None:
                return
            reported = self.controller.state.runs[request.run].progress
            checkpoint = reported - reported % 2
            self.active.append(PretendedRun(request, self.scripts(request), checkpoint))

    def events(self) -> list[dict[str, Any]]:
        return checked_events(self.folder.record)


def begin_record(folder: SweepFolder, text: str) -> None:
    """What ``memsweep run`` writes before anything runs."""
    header = {"kind": "sweep", "format": RECORD_FORMAT, "name": "s", "identity": "abc", "version": "0", "task": "mqar"}
    with Journal(folder.record) as journal:
        journal.append(header | {"space": text, "own_tracking": False, "time": 0.0})


def scripted(scripts: Iterable[Script]) -> Scripts:
    """The runs go by this list, in the order in which they start."""
    waiting, known = iter(scripts), {}

    def script(request: RunRequest) -> Script:
        if request.run not in known:
            known[request.run] = next(waiting)
        return dataclasses.replace(known[request.run])

    return script


def optuna_trials(controller: SweepController, study: str) -> list[Any]:
    return controller.studies[study].optuna_study.trials


def assert_settled(controller: SweepController) -> None:
    """Nothing is left over at the end: no run, no trial, no suggestion without its end."""
    assert all(run.outcome not in (None, "interrupted") for run in controller.state.runs.values())
    assert all(trial.outcome is not None for trial in controller.state.trials.values())
    for study in controller.studies.values():
        assert not study.running
        assert all(trial.state.is_finished() for trial in study.optuna_study.trials)


def told_numbers(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(event["study"], event["number"]) for event in events if event["kind"] == "told"]
