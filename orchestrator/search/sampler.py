"""A sampler that proposes with one of Optuna's own samplers and moves what is infeasible to the feasible set.

One code path serves both cases: where the constraints exclude nothing, a proposal is feasible as it is and equals Optuna's own
byte for byte. Where they exclude it, the structural part is replaced by the nearest feasible structure (or, while the inner
sampler still draws at random, by further draws), and Optuna is told the configuration that really runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.space.dimension import ChoiceDimension, Dimension
from orchestrator.space.structures import FeasibleStructures
from orchestrator.space.study_space import StudySpace

ENTRY = "entry"
"""The dimension that chooses among the entries when one study holds them all (``per: sweep``)."""

_REDRAWS = 64
_STARTUP_TRIALS = 10


@dataclass(frozen=True)
class Branch:
    """One space of a study with its feasible structures; a study per entry has one branch."""

    space: StudySpace
    structures: FeasibleStructures
    prefix: str = ""


@dataclass(frozen=True)
class Suggestion:
    """A feasible candidate: values of the active dimensions of one branch."""

    branch: Branch
    drawn: Mapping[str, Any]

    def distributions(self, branches: Sequence[Branch]) -> dict[str, BaseDistribution]:
        """The distribution of each parameter that Optuna is told, in the order of suggestion."""
        space, prefix = self.branch.space, self.branch.prefix
        found = {prefix + name: space.searched[name].dimension.distribution for name in space.searched if name in self.drawn}
        return ({ENTRY: entry_distribution(branches)} if len(branches) > 1 else {}) | found

    def labels(self, branches: Sequence[Branch]) -> dict[str, Any]:
        """The values that Optuna is told."""
        space, prefix = self.branch.space, self.branch.prefix
        found = {prefix + name: space.searched[name].dimension.label(value) for name, value in self.drawn.items()}
        return ({ENTRY: space.name} if len(branches) > 1 else {}) | found


def entry_distribution(branches: Sequence[Branch]) -> CategoricalDistribution:
    return CategoricalDistribution([branch.space.name for branch in branches])


class _SuccessiveTPE(TPESampler):
    """TPE that goes on from the intersection of earlier trials' dimensions, which a fresh sampler would find anew each time."""

    def __init__(self, seed: int, intersection: IntersectionSearchSpace) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True, warn_independent_sampling=False)
        self._intersection = intersection

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        found = self._intersection.calculate(study)
        return {name: distribution for name, distribution in found.items() if not distribution.single()}


def intersection_of_trials() -> IntersectionSearchSpace:
    """What the samplers of one study share: the dimensions that all its told trials have."""
    return IntersectionSearchSpace(include_pruned=True)


def inner_sampler(kind: str, seed: int, intersection: IntersectionSearchSpace) -> BaseSampler:
    """Optuna's own sampler, with Optuna's defaults."""
    return RandomSampler(seed=seed) if kind == "random" else _SuccessiveTPE(seed, intersection)


class FeasibleSampler(BaseSampler):
    """Feasible by construction over ``branches``; ``seed`` decides everything that this instance draws."""

    def __init__(self, kind: str, branches: Sequence[Branch], seed: int, intersection: IntersectionSearchSpace) -> None:
        self._inner = inner_sampler(kind, seed, intersection)
        self._always_random = kind == "random"
        self._branches = branches
        self._generator = np.random.default_rng(seed)
        self.suggestion: Suggestion | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self.suggestion = self._suggest(study, trial)
        return self.suggestion.distributions(self._branches)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        assert self.suggestion is not None
        return self.suggestion.labels(self._branches)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)

    def _suggest(self, study: Study, trial: FrozenTrial) -> Suggestion:
        draw = self._proposal(study, trial)
        names = {branch.space.name: branch for branch in self._branches}
        branch = names[draw(ENTRY, entry_distribution(self._branches))] if len(names) > 1 else self._branches[0]
        drawn = _walk(branch, draw, {})
        if branch.space.is_feasible(drawn):
            return Suggestion(branch, drawn)
        if self._always_random or self._is_starting(study):
            return Suggestion(branch, self._redraw(study, trial, branch))
        row = branch.structures.nearest_row(drawn)
        return Suggestion(branch, self._with_structure(branch, row, draw, drawn))

    def _proposal(self, study: Study, trial: FrozenTrial) -> Callable[[str, BaseDistribution], Any]:
        """Draws a parameter exactly as Optuna's own ``Trial.suggest_*`` would with the inner sampler."""
        relative_space = self._inner.infer_relative_search_space(study, trial)
        relative = self._inner.sample_relative(study, trial, relative_space)

        def draw(name: str, distribution: BaseDistribution) -> Any:
            if distribution.single():
                return _single_value(distribution)
            if name in relative and relative_space[name] == distribution:
                return relative[name]
            return self._inner.sample_independent(study, trial, name, distribution)

        return draw

    def _is_starting(self, study: Study) -> bool:
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return len(told) < _STARTUP_TRIALS

    def _redraw(self, study: Study, trial: FrozenTrial, branch: Branch) -> dict[str, Any]:
        """A feasible draw from the prior: by further draws, and where those are hopeless straight from the feasible set."""

        def draw(name: str, distribution: BaseDistribution) -> Any:
            if distribution.single():
                return _single_value(distribution)
            return self._inner.sample_independent(study, trial, name, distribution)

        for _ in range(_REDRAWS):
            drawn = _walk(branch, draw, {})
            if branch.space.is_feasible(drawn):
                return drawn
        row = branch.structures.draw_row(self._generator)
        return self._with_structure(branch, row, draw, drawn)

    @staticmethod
    def _with_structure(
        branch: Branch, row: int, draw: Callable[[str, BaseDistribution], Any], drawn: Mapping[str, Any]
    ) -> dict[str, Any]:
        structural = {dimension.name for dimension in branch.structures.dimensions}
        kept = {name: value for name, value in drawn.items() if name not in structural}
        return _walk(branch, draw, kept | branch.structures.row(row))


def _walk(branch: Branch, draw: Callable[[str, BaseDistribution], Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all active dimensions: the known ones as they are, the others drawn in the order of suggestion."""
    drawn: dict[str, Any] = {}
    for name, searched in branch.space.searched.items():
        if searched.guards and not branch.space.active(name, drawn):
            continue
        drawn[name] = known[name] if name in known else _drawn_value(searched.dimension, branch.prefix, draw)
    return drawn


def _drawn_value(dimension: Dimension, prefix: str, draw: Callable[[str, BaseDistribution], Any]) -> Any:
    label = draw(prefix + dimension.name, dimension.distribution)
    return dimension.value_of(label) if isinstance(dimension, ChoiceDimension) else label


def _single_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]


class FixedSampler(BaseSampler):
    """Suggests what it is given: replayed suggestions, and the points of a grid."""

    def __init__(self, branches: Sequence[Branch], suggestion: Suggestion) -> None:
        self._branches = branches
        self.suggestion: Suggestion | None = suggestion

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        assert self.suggestion is not None
        return self.suggestion.distributions(self._branches)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        assert self.suggestion is not None
        return self.suggestion.labels(self._branches)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        raise RuntimeError(f"{param_name} is no part of the fixed suggestion")
