"""One study: an Optuna study in memory that is asked and told, and that a record can rebuild."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from orchestrator.search.sampler import Branch, FeasibleSampler, FixedSampler, Suggestion, intersection_of_trials
from orchestrator.space.structures import FeasibleStructures, find_feasible

optuna.logging.set_verbosity(optuna.logging.ERROR)

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Told:
    """What a sampler is told of a suggestion: COMPLETE with its values, PRUNED with its curve, or FAIL."""

    state: str
    values: tuple[float, ...] | None = None
    """One for each objective, in their order."""
    intermediate: Mapping[int, float] = field(default_factory=dict)
    """The first objective by step; with several objectives Optuna takes no curve, and none is reported."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """Greater than zero means violated."""


def suggestion_seed(seed: int, study: str, number: int) -> int:
    """The seed of the ``number``-th suggestion of a study: the same after any restart."""
    digest = hashlib.sha256(f"{seed}\0{study}\0{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


class Study:
    """Asks and tells one Optuna study.

    Suggestions are numbered from 0. ``ask`` depends only on (seed, name, number, what was suggested and told so far), so
    a study rebuilt by :meth:`replay` and :meth:`tell` suggests what the lost one would have.
    """

    def __init__(self, name: str, kind: str, branches: Sequence[Branch], seed: int, directions: Sequence[Direction]) -> None:
        self.name = name
        self.kind = kind
        self.branches = tuple(branches)
        self.seed = seed
        self._study = optuna.create_study(directions=list(directions))
        self._intersection = intersection_of_trials()
        self._running: dict[int, Trial] = {}
        self._exhaustive: list[FeasibleStructures] | None = None

    @property
    def optuna_study(self) -> optuna.Study:
        """The study behind it, to look at."""
        return self._study

    @property
    def asked(self) -> int:
        """How many suggestions were made."""
        return len(self._study.get_trials(deepcopy=False))

    def ask(self) -> Suggestion | None:
        """The next suggestion; None when a grid is used up."""
        number = self.asked
        if self.kind == "grid":
            suggestion = self.configuration(number)
            return None if suggestion is None else self.replay(suggestion)
        seed = suggestion_seed(self.seed, self.name, number)
        sampler = FeasibleSampler(self.kind, self.branches, seed, self._intersection)
        return self._ask(sampler)

    def replay(self, suggestion: Suggestion) -> Suggestion:
        """Takes a suggestion made elsewhere (recorded, or a point of a grid) as the next one."""
        return self._ask(FixedSampler(self.branches, suggestion))

    def _ask(self, sampler: FeasibleSampler | FixedSampler) -> Suggestion:
        self._study.sampler = sampler
        trial = self._study.ask()
        trial.relative_params  # noqa: B018  (draws the suggestion, also where every dimension has a single value)
        suggestion = sampler.suggestion
        assert suggestion is not None
        for name, distribution in suggestion.distributions(self.branches).items():
            _suggest(trial, name, distribution)
        self._running[trial.number] = trial
        return suggestion

    def tell(self, number: int, told: Told) -> None:
        """Ends suggestion ``number``; telling twice is an error of the caller."""
        trial = self._running.pop(number)
        for key, violation in told.constraints.items():
            trial.set_constraint(key, violation)
        if len(self._study.directions) == 1:
            for step, value in told.intermediate.items():
                trial.report(value, step)
        state = TrialState[told.state]
        values = told.values if state == TrialState.COMPLETE else None
        self._study.tell(number, values, state=state)

    @property
    def running(self) -> list[int]:
        """The numbers of suggestions that were not told yet."""
        return sorted(self._running)

    def number_of_configurations(self) -> int | None:
        """How many configurations the study can ever suggest; None where they are a continuum or too many to list."""
        if any(not searched.dimension.size for branch in self.branches for searched in branch.space.searched.values()):
            return None
        lists = self._configurations()
        return None if any(not found.exact for found in lists) else sum(len(found) for found in lists)

    def configuration(self, index: int) -> Suggestion | None:
        """The ``index``-th configuration of a finite study, in a fixed order; None behind the last."""
        for branch, found in zip(self.branches, self._configurations(), strict=True):
            if index < len(found):
                return Suggestion(branch, found.row(index))
            index -= len(found)
        return None

    def unseen_order(self) -> np.ndarray:
        """All configuration indices of a finite study in an order of its own, for when draws keep repeating themselves."""
        size = self.number_of_configurations() or 0
        return np.random.default_rng(suggestion_seed(self.seed, self.name, -1)).permutation(size)

    def _configurations(self) -> list[FeasibleStructures]:
        if self._exhaustive is None:
            self._exhaustive = [find_feasible(branch.space, over_all=True) for branch in self.branches]
        return self._exhaustive


def _suggest(trial: Trial, name: str, distribution: Any) -> None:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
    elif isinstance(distribution, optuna.distributions.IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    else:
        trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
