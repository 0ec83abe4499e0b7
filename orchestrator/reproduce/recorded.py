"""One run as its record tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.recorded_space import paths_of_all_editions
from orchestrator.sweep.state import SweepState

OWN_ENDS = ("completed", "diverged", "oom", "failed")
"""Outcomes that a run tells of itself; the others are decided by the driver or by its end."""


class NothingRecorded(LookupError):
    """The run is in the record, but nothing came of it that could be compared."""


@dataclass(frozen=True)
class RecordedRun:
    """A run, its configuration, and what it reported."""

    folder: SweepFolder
    run: str
    trial: str
    architecture: str
    task: str
    configuration: Mapping[str, Mapping[str, Any]]
    """``model``, ``task`` and ``training``, resolved."""
    fingerprint: str
    seed: int
    attempts: int
    """How often it was handed out; what it says of its end comes from the last one."""
    steps: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Metrics by step; those known once have step 0."""
    outcome: str | None = None
    """None while it is in flight."""
    error: Mapping[str, str] | None = None
    lives: tuple[Mapping[str, str], ...] = ()
    """The provenance of each process that worked on it; empty where none was recorded."""
    continued_from: tuple[int, ...] = ()
    """The steps of the checkpoints from which later processes went on."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Where each file that the sweep names lay, by its reference."""

    @property
    def last_step(self) -> int:
        return max(self.steps, default=0)

    def provenance(self, key: str) -> tuple[str, ...]:
        """The values that its processes had, each once; empty where none was recorded."""
        return tuple(dict.fromkeys(life[key] for life in self.lives if key in life))

    @property
    def ended_itself(self) -> bool:
        """Whether its end is the run's own word: an exception has a traceback, a process that died has none."""
        if self.outcome in ("failed", "oom"):
            return bool(self.error and self.error["traceback"])
        return self.outcome in OWN_ENDS


def recorded_run(folder: SweepFolder, state: SweepState, events: Sequence[Mapping[str, Any]], run: str) -> RecordedRun:
    """Collects what the events say of ``run``; ``state`` is what they came to.

    Raises:
        NothingRecorded: it has neither a result nor an end of its own.
    """
    trial = state.trials[state.runs[run].trial]
    mine = [event for event in events if event.get("run") == run]
    begins = [event for event in mine if event["kind"] == "begin"]
    end: Mapping[str, Any] = next((event for event in reversed(mine) if event["kind"] == "outcome"), {})
    recorded = RecordedRun(
        folder=folder,
        run=run,
        trial=trial.id,
        architecture=trial.architecture,
        task=trial.task,
        configuration=trial.configuration,
        fingerprint=trial.fingerprint,
        seed=state.runs[run].seed,
        attempts=state.runs[run].attempts,
        steps=_steps(mine),
        outcome=state.runs[run].outcome,
        error=end.get("error"),
        lives=tuple(event["provenance"] for event in begins),
        continued_from=tuple(event["continued_from"] for event in begins if event["continued_from"]),
        files=paths_of_all_editions(events),
    )
    if not recorded.steps and not recorded.ended_itself:
        raise NothingRecorded(f"`{run}` ({recorded.outcome or 'not ended'}) has reported nothing that could be compared")
    return recorded


def _steps(events: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """The first report of a step counts, as it does for the driver."""
    steps: dict[int, dict[str, float]] = {}
    for event in events:
        if event["kind"] == "result":
            steps[event["progress"]] = {**event["metrics"], **steps.get(event["progress"], {})}
    return steps
