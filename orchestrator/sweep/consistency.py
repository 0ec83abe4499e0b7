"""Whether a record and the search space in it belong together: a folder may come from a stranger, or from another version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.record import JournalError
from orchestrator.record.journal import CURE
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.state import Event, SweepState, TrialState
from orchestrator.sweep.studies import study_of


def consistent_state(specification: SweepSpecification, events: Sequence[Event], record: Path) -> SweepState:
    """The state that the events make.

    Raises:
        JournalError: a trial that counts is of no space of the sweep, lacks values, or has too many objectives; or a suggestion
            is none that its study can make.
    """
    state = SweepState(specification.objective_names).apply_all(events)
    spaces = {space.name: space for space in specification.spaces}
    for trial in state.trials.values():
        problem = _problem(trial, spaces.get(trial.space), len(specification.objectives)) if trial.kept else None
        if problem:
            raise JournalError(f"{record}: trial {trial.id} {problem}; {CURE}")
    for study, space, drawn in _suggestions(events):
        if not _can_suggest(specification, spaces.get(space), study, drawn):
            raise JournalError(f"{record}: the study `{study}` cannot have suggested {str(drawn)[:80]} in `{space}`; {CURE}")
    return state


def _suggestions(events: Sequence[Event]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What the studies of the last edition of the space are told again: study, space, drawn values."""
    last_edit = max((index for index, event in enumerate(events) if event["kind"] == "edit"), default=-1)
    for event in events[max(last_edit, 0) :]:
        made = event["kept"].values() if event["kind"] == "edit" else (event,) if event["kind"] == "suggestion" else ()
        yield from ((one["study"], one["space"], one["drawn"]) for one in made)


def _can_suggest(specification: SweepSpecification, space: StudySpace | None, study: str, drawn: Mapping[str, Any]) -> bool:
    return space is not None and study == study_of(specification, space) and drawn.keys() <= space.searched.keys()


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
