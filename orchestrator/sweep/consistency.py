"""Whether a record and the search space in it belong together: a folder may come from a stranger, or from another version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.record import JournalError
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.state import Event, SweepState, TrialState


def consistent_state(specification: SweepSpecification, events: Sequence[Event], record: Path) -> SweepState:
    """The state that the events make.

    Raises:
        JournalError: a trial that counts is of no space of the sweep, lacks values, or has too many objectives.
    """
    state = SweepState([objective.metric for objective in specification.objectives]).apply_all(events)
    spaces = {space.name: space for space in specification.spaces}
    for trial in state.trials.values():
        problem = _problem(trial, spaces.get(trial.space), len(specification.objectives)) if trial.kept else None
        if problem:
            raise JournalError(f"{record}: trial {trial.id} {problem}; restore the file from a copy")
    return state


def _problem(trial: TrialState, space: StudySpace | None, objectives: int) -> str | None:
    if space is None:
        return f"is of `{trial.space}`, which the space of the sweep has not"
    if space.architecture.name != trial.architecture:
        return f"is of the architecture `{trial.architecture}`, `{space.name}` of `{space.architecture.name}`"
    if trial.values and len(trial.values) != objectives:
        return f"has {len(trial.values)} values for {objectives} objectives"
    # Only what the space names: a later version may know fields that this record does not, which have their defaults.
    lacking = [name for name, field in space.fields.items() if field.written and not _has(trial, name)]
    return f"has no value of {', '.join(lacking[:3])}" if lacking else None


def _has(trial: TrialState, name: str) -> bool:
    scope, _, leaf = name.rpartition(".")
    return leaf in trial.configuration[scope or "model"]
