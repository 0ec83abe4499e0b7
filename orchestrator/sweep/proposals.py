"""New trials: which study is asked next, and what becomes of its suggestion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.search.sampler import Branch, Suggestion
from orchestrator.search.study import Study
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.naming import run_id, trial_id
from orchestrator.sweep.state import StudyState, SweepState
from trainables.training.request import RunRequest

REPEATS_BEFORE_UNSEEN = 16
REPEATS_BEFORE_GIVING_UP = 500


class Proposals:
    """Asks the studies. It writes nothing: every method gives the event that says what came of it."""

    def __init__(self, specification: SweepSpecification, studies: Mapping[str, Study], state: SweepState) -> None:
        self._specification = specification
        self._studies = studies
        self._state = state
        self._grids: dict[str, Iterator[int]] = {}
        """How far each grid has been gone through in this process."""

    @property
    def wanted(self) -> bool:
        """Whether any study still wants a trial."""
        return any(self._wants_trial(name) for name in self._studies)

    @property
    def planned_runs(self) -> int | None:
        """Runs of the whole sweep; None where that is not known before they are suggested."""
        trials = 0
        for study in self._studies.values():
            planned = self._planned_trials(study)
            if planned is None:
                return None
            trials += planned
        return trials * self._specification.search.replicates

    def events(self) -> Iterator[dict[str, Any]]:
        """Asks the study that has come least far, until one makes a new trial or all have had theirs.

        Each event must be applied before the next one is asked for.
        """
        order = sorted(self._studies, key=lambda name: len(self._state.study(name).trials))
        for name in order:
            while self._wants_trial(name):
                event = self._ask_once(name)
                yield event
                if event.get("trial") is not None:
                    return

    def branch(self, study: str, space: str) -> Branch:
        """The branch of a study that searches ``space``."""
        return next(branch for branch in self._studies[study].branches if branch.space.name == space)

    def _wants_trial(self, name: str) -> bool:
        state, budget = self._state.study(name), self._budget(self._studies[name])
        return not state.exhausted and (budget is None or len(state.trials) < budget)

    def _planned_trials(self, study: Study) -> int | None:
        """A study may have more trials than the present total, or fewer where nothing new was left."""
        state, budget = self._state.study(study.name), self._budget(study)
        if state.exhausted:
            return len(state.trials)
        return None if budget is None else max(budget, len(state.trials))

    def _budget(self, study: Study) -> int | None:
        wanted = self._specification.trials_per_study
        if wanted is not None or study.kind != "grid":
            return wanted
        return study.number_of_configurations()

    def _ask_once(self, name: str) -> dict[str, Any]:
        study, state = self._studies[name], self._state.study(name)
        number = study.asked
        suggestion = None if self._is_used_up(study, state) else self._ask(study, state)
        return {"kind": "exhausted", "study": name} if suggestion is None else self._event(state, number, suggestion)

    def _is_used_up(self, study: Study, state: StudyState) -> bool:
        if not state.repeated:
            return False
        total = study.number_of_configurations()
        return len(state.trials) >= total if total is not None else state.repeated >= REPEATS_BEFORE_GIVING_UP

    def _ask(self, study: Study, state: StudyState) -> Suggestion | None:
        if study.kind == "grid":
            grid = self._grids.setdefault(study.name, iter(range(study.number_of_configurations() or 0)))
            return self._unseen(study, state, grid)
        if state.repeated < REPEATS_BEFORE_UNSEEN or study.number_of_configurations() is None:
            return study.ask()
        return self._unseen(study, state, study.unseen_order())

    def _unseen(self, study: Study, state: StudyState, order: Iterable[int]) -> Suggestion | None:
        """The first configuration in this order that the study has not had."""
        for index in order:
            suggestion = study.configuration(int(index))
            if suggestion and self._request(suggestion).fingerprint() not in state.by_fingerprint:
                return study.replay(suggestion)
        return None

    def _request(self, suggestion: Suggestion) -> RunRequest:
        return configured(suggestion.branch.space, suggestion.drawn)

    def _event(self, state: StudyState, number: int, suggestion: Suggestion) -> dict[str, Any]:
        space, request = suggestion.branch.space, self._request(suggestion)
        fingerprint = request.fingerprint()
        known = state.by_fingerprint.get(fingerprint)
        identity = trial_id(state.name, self._state.made[state.name])
        return {
            "kind": "suggestion",
            "study": state.name,
            "number": number,
            "trial": identity if known is None else None,
            "answered_by": known,
            "space": space.name,
            "entry": space.entry,
            "architecture": space.architecture.name,
            "task": space.task_type.name,
            "drawn": dict(suggestion.drawn),
            "configuration": {
                "model": dict(request.model),
                "task": dict(request.task_values),
                "training": dict(request.training),
            },
            "fingerprint": fingerprint,
            "runs": planned_seeds(self._specification, identity) if known is None else {},
        }


def planned_seeds(specification: SweepSpecification, trial: str) -> dict[str, int]:
    """The runs of a trial with their seeds."""
    seeds = (specification.search.seed + index for index in range(specification.search.replicates))
    return {run_id(trial, seed): seed for seed in seeds}


def configured(space: StudySpace, drawn: Mapping[str, Any]) -> RunRequest:
    """The configuration of a suggestion, as far as it does not depend on the run."""
    configuration = space.resolve(drawn)
    return RunRequest(
        run="",
        architecture=space.architecture.name,
        task=space.task_type.name,
        model=configuration.model,
        task_values=configuration.task,
        training=configuration.training,
        artifacts=Path(),
    )
