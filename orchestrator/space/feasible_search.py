"""Searches the lattice of the structural dimensions: all of it up to a million points, else a sample.

A sample is drawn, and where a stratum (a combination of the dimensions of few values, such as a width and a list's length) has
few feasible points in it, the drawn points nearest to the budget climb nearer there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from orchestrator.space.dimension import Dimension
from orchestrator.space.evaluation import Evaluator
from orchestrator.space.lattice import Lattice, Strata
from orchestrator.space.patterns import length_patterns
from orchestrator.space.study_space import StudySpace

EXACT_LIMIT = 1_000_000
_CHUNK = 65_536
_SAMPLED_POINTS = 250_000
_SAMPLED_AT_ONCE = 32_768
_ONE_BY_ONE = 30_000
"""After so many evaluations of single candidates, some 15,000 a second, the sample has to do."""
_CLIMBED_ONE_BY_ONE = 2 * _ONE_BY_ONE
"""After so many climbing ends."""
_POOL_LIMIT = 200_000
_LOOKED_AT = 256
_ENOUGH = 1000
"""Known points of a space, or of all strata together, that make climbing needless."""
_OPTIONS = 64
_ROUNDS = 4
_NEAREST = 3

Miss = tuple[float, int, np.ndarray]
"""A point that meets everything but the budget: how far it is from that, its count, its indices."""


@dataclass(frozen=True)
class Rows:
    """F feasible points: indices and activity (F, d), the budgeted count and the mass (F,)."""

    indices: np.ndarray
    counts: np.ndarray
    active: np.ndarray
    mass: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Rows], width: int) -> Rows:
        nothing = Rows(np.zeros((0, width), np.int32), np.zeros(0, np.int64), np.zeros((0, width), bool), np.zeros(0))
        names = ("indices", "counts", "active", "mass")
        return Rows(*(np.concatenate([getattr(part, name) for part in (nothing, *parts)]) for name in names))

    def distinct(self) -> Rows:
        """Each point once, with the mass of all its copies."""
        indices, first, inverse = np.unique(self.indices, axis=0, return_index=True, return_inverse=True)
        mass = np.bincount(inverse.reshape(-1), weights=self.mass, minlength=len(indices))
        return Rows(indices, self.counts[first], self.active[first], mass)


@dataclass(frozen=True)
class Found:
    """The outcome of a search; of the misses those nearest to the budget."""

    rows: Rows
    structures: int
    feasible: int
    exact: bool
    misses: tuple[Miss, ...]


class FeasibleSearch:
    """One search. What is inactive in a point counts as having its first value, so that no structure is counted twice."""

    def __init__(self, space: StudySpace, dimensions: tuple[Dimension, ...], seed: int) -> None:
        self._space = space
        self._lattice = Lattice(dimensions)
        self._strata = Strata(self._lattice, [not space.searched[dimension.name].guards for dimension in dimensions])
        self._generator = np.random.default_rng(seed)
        self._evaluator = Evaluator(space, dimensions)
        self._rows: list[Rows] = []
        self._misses: list[Miss] = []
        self._finite = all(dimension.size for dimension in dimensions)
        self._patterns = length_patterns(space, dimensions) if self._lattice.total > EXACT_LIMIT else None

    def run(self) -> Found:
        """Raises NotDrawn where a constraint depends on another dimension."""
        self._look()
        if self._finite and self._lattice.total <= EXACT_LIMIT:
            return self._enumerate(self._lattice.points(_CHUNK))
        if self._finite and self._patterns and self._patterns.structures <= EXACT_LIMIT:
            return self._enumerate(self._patterns.points(_CHUNK))
        return self._sample()

    def _look(self) -> None:
        """A few points name the dimensions that are missing, before many are evaluated in vain: a long list has many of these."""
        if self._lattice.total > _LOOKED_AT:
            points = self._lattice.draw(np.random.default_rng(0), _LOOKED_AT)
            Evaluator(self._space, self._lattice.dimensions).evaluate(points)

    def _enumerate(self, points: Iterator[np.ndarray]) -> Found:
        structures = 0
        for indices in points:
            seen = self._take(indices, only_canonical=True)
            structures += int(seen.canonical.sum())
        rows = self._all_rows()
        return Found(rows, structures, len(rows.indices), True, tuple(self._misses))

    def _sample(self) -> Found:
        shares: list[np.ndarray] = []
        feasible: list[np.ndarray] = []
        while self._wants_more(sum(map(len, shares))):
            seen = self._take(self._lattice.draw(self._generator, _SAMPLED_AT_ONCE))
            shares.append(-seen.log_drawn)
            feasible.append(seen.distance == 0)
        size = self._patterns.structures if self._patterns else _exponential_mean(np.concatenate(shares))
        share = _weighted_share(np.concatenate(feasible), np.concatenate(shares))
        self._climb_where_poor()
        rows = self._with_climbed(self._all_rows().distinct(), sum(map(len, shares)))
        estimate = max(round(Decimal(share) * size), len(rows.indices))
        return Found(rows, size, min(size, estimate), False, tuple(self._misses))

    def _wants_more(self, drawn: int) -> bool:
        known = sum(len(rows.counts) for rows in self._rows)
        return drawn < _SAMPLED_POINTS and self._evaluator.one_by_one < _ONE_BY_ONE and known < _POOL_LIMIT

    def _all_rows(self) -> Rows:
        return Rows.joined(self._rows, len(self._lattice.sizes))

    def _take(self, indices: np.ndarray, *, only_canonical: bool = False, climbed: bool = False) -> _Seen:
        """Evaluates points and keeps the feasible ones: as they are drawn, or, of all points, the canonical ones."""
        evaluated = self._evaluator.evaluate(indices)
        active = evaluated.active
        canonical = (active | (indices == 0)).all(axis=1)
        budget = self._space.budget
        distance = np.asarray(budget.distance(evaluated.counts) if budget else np.zeros(len(indices)), dtype=float)
        admitted = evaluated.met & canonical if only_canonical else evaluated.met
        distance = np.where(admitted, distance, np.inf)
        known = distance == 0
        log_drawn = np.zeros(len(indices)) if only_canonical else self._lattice.log_drawn(indices, active)
        mass = np.exp(self._lattice.log_prior(indices[known], active[known]) - log_drawn[known])
        narrow = max(self._lattice.sizes, default=0) <= np.iinfo(np.int32).max
        kept = (indices[known] * active[known]).astype(np.int32 if narrow else np.int64)
        self._rows.append(Rows(kept, evaluated.counts[known], active[known], np.zeros(len(kept)) if climbed else mass))
        self._keep_misses(indices * active, np.where(known, np.inf, distance), evaluated.counts)
        return _Seen(distance, active, canonical, log_drawn)

    def _keep_misses(self, indices: np.ndarray, distance: np.ndarray, counts: np.ndarray) -> None:
        nearest = np.argsort(distance, kind="stable")[:_NEAREST]
        misses = [(float(distance[row]), int(counts[row]), indices[row]) for row in nearest if np.isfinite(distance[row])]
        distinct = {miss[2].tobytes(): miss for miss in [*misses, *self._misses]}
        self._misses = sorted(distinct.values(), key=lambda miss: miss[0])[:_NEAREST]

    def _climb_where_poor(self) -> None:
        known = self._all_rows().distinct()
        wanted = -(-_ENOUGH // self._strata.count)
        poor = np.flatnonzero(np.bincount(self._strata.of(known.indices), minlength=self._strata.count) < wanted)
        starts = 16 if self._evaluator.one_by_one > _SAMPLED_AT_ONCE // _OPTIONS else 512
        if len(poor):
            poor = self._generator.permutation(poor)[:starts]
            self._climb(np.repeat(poor, min(64, max(1, starts // len(poor)))))

    def _climb(self, strata: np.ndarray) -> None:
        """Moves a point in each of the given strata nearer to the budget, one dimension at a time, keeping what is feasible."""
        points = self._lattice.draw(self._generator, 2 * len(strata))[self._generator.permutation(2 * len(strata))[: len(strata)]]
        self._strata.move(points, strata)
        free = [position for position in range(len(self._lattice.sizes)) if position not in self._strata.positions]
        for position in free * _ROUNDS:
            if self._evaluator.one_by_one > _CLIMBED_ONE_BY_ONE:
                return
            options = self._options(points[:, position], self._lattice.sizes[position])
            tried = np.repeat(points[:, None, :], options.shape[1], axis=1)
            tried[:, :, position] = options
            seen = self._take(tried.reshape(-1, len(self._lattice.sizes)), climbed=True)
            points = tried[np.arange(len(points)), seen.distance.reshape(len(points), -1).argmin(axis=1)]

    def _options(self, current: np.ndarray, size: int) -> np.ndarray:
        """(N, options) indices for N points: some anywhere, the same for all, then ones ever nearer to where each point is."""
        anywhere = self._anywhere(size)
        steps = 2 ** np.arange(max(0, min(_OPTIONS // 4 - 1, size.bit_length() - 1)))[::-1]
        near = np.clip(current[:, None] + np.concatenate([steps, -steps, [0]]), 0, size - 1)
        return np.concatenate([np.tile(anywhere, (len(current), 1)), near], axis=1)

    def _anywhere(self, size: int) -> np.ndarray:
        if size > EXACT_LIMIT:  # too many to be put in order for the sake of a few
            return np.asarray(self._generator.integers(0, size, _OPTIONS // 2))
        return self._generator.permutation(size)[: _OPTIONS // 2]

    def _with_climbed(self, rows: Rows, drawn: int) -> Rows:
        """Gives what was only climbed to, in each stratum together, the mass of one drawn point: that is what it has at most."""
        strata, climbed = self._strata.of(rows.indices), rows.mass == 0
        size = np.bincount(strata[climbed], minlength=self._strata.count)
        return replace(rows, mass=np.where(climbed, 1 / np.maximum(size, 1)[strata], rows.mass))


@dataclass(frozen=True)
class _Seen:
    """Of N points: the distance to the budget, infinite where another rule is broken; activity (N, d); which are canonical;
    the logarithm of the probability of drawing them."""

    distance: np.ndarray
    active: np.ndarray
    canonical: np.ndarray
    log_drawn: np.ndarray


def _exponential_mean(logarithms: np.ndarray) -> int:
    """The mean of e to the power of these, as a whole number of any size."""
    largest = float(logarithms.max())
    mean = float(np.exp(logarithms - largest).mean())
    return round(Decimal(largest).exp() * Decimal(mean))


def _weighted_share(true: np.ndarray, log_weights: np.ndarray) -> float:
    weights = np.exp(log_weights - log_weights.max())
    return float((weights * true).sum() / weights.sum())
