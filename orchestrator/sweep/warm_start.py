"""Trials of earlier sweeps that a new sweep's sampler is told first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.record import checked_events
from orchestrator.space.membership import Outside, find_drawn
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.folder import find_sweep
from orchestrator.sweep.state import SweepState, TrialState
from orchestrator.sweep.telling import told, trial_values


def warm_start_event(specification: SweepSpecification, source: str, storage: Path) -> dict[str, Any]:
    """What an earlier sweep has to tell: its ended trials whose configuration lies in the new space.

    Values are comparable only where everything that decides them is equal, so a trial of another task, another length of
    training or outside a dimension's range tells nothing; ``outside`` counts those.

    Raises:
        FileNotFoundError: there is no such sweep.
        JournalError: its record is damaged.
    """
    folder = find_sweep(source, storage)
    state = SweepState(specification.objective_names).apply_all(checked_events(folder.record))
    ended = [trial for trial in state.trials.values() if trial.outcome is not None]
    trials = []
    for trial in ended:
        runs = state.runs_of(trial.id)
        trial.values = trial_values(specification, runs)
        if _has_a_place(specification, trial):
            verdict = asdict(told(specification, trial, runs))
            trials.append({"architecture": trial.architecture, "configuration": trial.configuration, "told": verdict})
    return {
        "kind": "warm_start",
        "source": source,
        "objectives": objectives_of(specification),
        "trials": trials,
        "outside": len(ended) - len(trials),
    }


def _has_a_place(specification: SweepSpecification, trial: TrialState) -> bool:
    if trial.outcome == "completed" and trial.values is None:
        return False
    if trial.task != specification.task_type.name:
        return False
    return home_of(specification, trial.architecture, trial.configuration) is not None


def objectives_of(specification: SweepSpecification) -> list[str]:
    """The objectives as text, to see whether values of two spaces mean the same."""
    return [f"{objective.mode} {objective.metric} {objective.at}" for objective in specification.objectives]


def home_of(
    specification: SweepSpecification, architecture: str, configuration: Mapping[str, Mapping[str, Any]]
) -> tuple[StudySpace, Mapping[str, Any]] | None:
    """The first space of an architecture, under whatever name, that holds a configuration, with the values drawn in it."""
    return next(_homes(specification, architecture, configuration), None)


def _homes(
    specification: SweepSpecification, architecture: str, configuration: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[StudySpace, Mapping[str, Any]]]:
    for space in specification.spaces:
        if space.architecture.name == architecture:
            drawn = find_drawn(space, configuration)
            if not isinstance(drawn, Outside):
                yield space, drawn
