"""An edited search space: which trials of the record lie in it, and in which of its studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.space.membership import Outside, find_home
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.proposals import planned_seeds
from orchestrator.sweep.state import Event, SweepState, TrialState
from orchestrator.sweep.studies import study_of
from orchestrator.sweep.telling import trial_values


@dataclass(frozen=True)
class Edition:
    """What an edit makes of the trials so far. ``kept`` is the event's: study, space, drawn values, values, runs to add."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Trials outside the new space, with the reason."""

    def summary(self, state: SweepState) -> list[str]:
        """A line for each entry: how many of its trials stay, and why others do not."""
        entries = dict.fromkeys(trial.entry for trial in state.trials.values())
        return [self._entry_summary(state, entry) for entry in entries]

    def _entry_summary(self, state: SweepState, entry: str) -> str:
        trials = [trial.id for trial in state.trials.values() if trial.entry == entry]
        reasons = Counter(self.left_out[trial] for trial in trials if trial in self.left_out)
        kept = sum(trial in self.kept for trial in trials)
        line = f"{entry}: {kept} of {len(trials)} trials stay"
        if not reasons:
            return line
        reason, count = reasons.most_common(1)[0]
        others = len(trials) - kept
        return f"{line}; {others} left out, kept in the record and not told to the sampler ({count}: {reason})"


def make_edition(specification: SweepSpecification, events: Iterable[Event]) -> tuple[Edition, SweepState]:
    """Finds the home of every trial in the new space; the state is as the new objectives see it."""
    state = SweepState(specification.objective_names).apply_all(events)
    edition = Edition()
    for trial in state.trials.values():
        home = _home(specification, state, trial)
        if isinstance(home, str):
            edition.left_out[trial.id] = home
        else:
            edition.kept[trial.id] = home
    return edition, state


def _home(specification: SweepSpecification, state: SweepState, trial: TrialState) -> dict[str, Any] | str:
    if trial.task != specification.task_type.name:
        return f"the task is {trial.task} there and {specification.task_type.name} here"
    found = find_home(specification.spaces, trial.entry, trial.architecture, trial.configuration)
    if isinstance(found, Outside):
        return found.reason
    space, drawn = found
    runs = state.runs_of(trial.id)
    values = trial_values(specification, runs) if trial.outcome == "completed" else None
    if trial.outcome == "completed" and values is None:
        return f"{', '.join(specification.objective_names)} was not measured"
    return {
        "study": study_of(specification, space),
        "space": space.name,
        "drawn": dict(drawn),
        "values": values,
        "runs": _missing_runs(specification, trial, [run.seed for run in runs]),
    }


def _missing_runs(specification: SweepSpecification, trial: TrialState, seeds: list[int]) -> Mapping[str, int]:
    """Seeds that the new space asks for and the trial has not had."""
    return {run: seed for run, seed in planned_seeds(specification, trial.id).items() if seed not in seeds}
