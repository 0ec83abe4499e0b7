"""Folders of sweeps that never ran: a space, and a record written event by event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.record import Journal
from orchestrator.report.collect import SweepData, load_sweep
from orchestrator.sweep.folder import SweepFolder

SPACE = """
name: recorded
task: {{name: mqar}}
model: {{dim: 32, n_layers: 2}}
architectures:
  gpt: {{dk: {{int: [8, 64], step: 8}}}}
  unified_kv: {{du: {{int: [8, 64], step: 8}}}}
training: {{lr: {{float: [1e-4, 1e-2], log: true}}, epochs: 3}}
objective: {objective}
search: {{trials: 4, replicates: {replicates}}}
"""
ACCURACY = "{metric: val/accuracy, mode: max}"
TWO = "[{metric: val/accuracy, mode: max}, {metric: params/total, mode: min}]"
THREE = "[{metric: val/accuracy}, {metric: params/total}, {metric: val/loss, at: best}]"

Curves = Mapping[str, Sequence[float]]


class RecordedSweep:
    """Writes a record; trials are numbered within their entry."""

    def __init__(self, path: Path, objective: str = ACCURACY, replicates: int = 1, space: str | None = None) -> None:
        self.folder = SweepFolder(path)
        path.mkdir(parents=True)
        self.folder.space.write_text(space or SPACE.format(objective=objective, replicates=replicates))
        self._numbers: dict[str, int] = {}
        self._events: list[dict[str, Any]] = [
            {
                "kind": "sweep",
                "format": 1,
                "name": "recorded",
                "identity": "abc",
                "version": "0.1.0",
                "task": "mqar",
                "space": self.folder.space.read_text(),
                "own_tracking": False,
            }
        ]

    def trial(
        self,
        entry: str,
        values: Sequence[float] | None,
        runs: Sequence[tuple[Curves, Mapping[str, float]]],
        drawn: Mapping[str, Any] | None = None,
        constant: Mapping[str, Any] | None = None,
    ) -> str:
        """A trial with a run for each of ``runs`` (curves by metric, and what is measured once); without values it failed.

        ``entry`` may be the name of a grid cell.

        ``drawn`` and ``constant`` are values by field (``dk``, ``training.lr``) of a gpt, else some width and a learning rate.
        """
        number = self._numbers[entry] = self._numbers.get(entry, -1) + 1
        trial = f"{entry}-{number:04d}"
        identities = [f"{trial}-s{seed}" for seed in range(len(runs))]
        event = suggestion(trial, entry, number, identities)
        self._events.append(event if drawn is None else event | configured(drawn, constant or {}) | {"architecture": "gpt"})
        outcome = "failed" if values is None else "completed"
        for identity, (curves, once) in zip(identities, runs, strict=True):
            self._events += run_events(identity, curves, once, outcome)
        self._events.append({"kind": "trial_end", "trial": trial, "outcome": outcome, "values": values and list(values)})
        return trial

    def event(self, **event: Any) -> None:
        self._events.append(event)

    def load(self) -> SweepData:
        with Journal(self.folder.record) as journal:
            for event in self._events:
                journal.append(event)
        return load_sweep(self.folder)


def suggestion(trial: str, entry: str, number: int, runs: Iterable[str]) -> dict[str, Any]:
    width = {"dk": 8 * (number + 1)} if entry == "gpt" else {"du": 8 * (number + 1)}
    return {
        "kind": "suggestion",
        "study": entry,
        "number": number,
        "trial": trial,
        "answered_by": None,
        "space": entry,
        "entry": entry.partition(".")[0],
        "architecture": entry,
        "drawn": {**width, "training.lr": 1e-3},
        "configuration": {"model": {"dim": 32, "n_layers": 2, **width}, "task": {}, "training": {"lr": 1e-3, "epochs": 3}},
        "fingerprint": f"f{trial}",
        "task": "mqar",
        "runs": {run: seed for seed, run in enumerate(runs)},
    }


def configured(drawn: Mapping[str, Any], constant: Mapping[str, Any]) -> dict[str, Any]:
    """What a suggestion says of these values."""
    configuration: dict[str, dict[str, Any]] = {"model": {}, "task": {}, "training": {}}
    for name, value in {**constant, **drawn}.items():
        scope, _, leaf = name.rpartition(".")
        configuration[scope or "model"][leaf] = value
    return {"drawn": dict(drawn), "configuration": configuration}


def run_events(run: str, curves: Curves, once: Mapping[str, float], outcome: str) -> Iterable[dict[str, Any]]:
    yield {"kind": "start", "run": run}
    yield {"kind": "result", "run": run, "progress": 0, "metrics": dict(once), "last": False}
    epochs = max((len(curve) for curve in curves.values()), default=0)
    for epoch in range(epochs):
        metrics = {metric: curve[epoch] for metric, curve in curves.items()}
        yield {"kind": "result", "run": run, "progress": epoch + 1, "metrics": metrics, "last": epoch + 1 == epochs}
    yield {"kind": "outcome", "run": run, "outcome": outcome, "error": None}


def add_points(sweep: RecordedSweep, entry: str, points: Sequence[tuple[float, float]]) -> list[str]:
    """Completed trials with these accuracies and sizes."""
    found = []
    for accuracy, size in points:
        curves = {"val/accuracy": [accuracy / 4, accuracy / 2, accuracy]}
        once = {"params/total": size, "params/block": size / 2, "memory/peak_host_mib": 400 + size / 1000}
        found.append(sweep.trial(entry, [accuracy, size], [(curves, once)]))
    return found
