"""The structures that meet every hard constraint: enumerated up to a million, else a sample that was searched for.

A structure is an assignment of the dimensions on which a hard constraint depends. Which these are is found by evaluating:
a dimension that is looked at and has no value yet is added, and the evaluation begins again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from orchestrator.expression import NotVectorisable
from orchestrator.space.assignment import Assignment, Infeasible, NotDrawn
from orchestrator.space.dimension import Dimension
from orchestrator.space.study_space import StudySpace, plain

EXACT_LIMIT = 1_000_000
_CHUNK = 65_536
_SAMPLED_POINTS = 250_000
_SAMPLED_AT_ONCE = 32_768
_ONE_BY_ONE = 30_000
"""After so many evaluations of single candidates, some 15,000 a second, the sample has to do."""
_POOL_LIMIT = 200_000
_NEAREST = 3


@dataclass(frozen=True)
class Nearest:
    """A structure that meets everything but the budget, with its count."""

    drawn: dict[str, Any]
    count: int


@dataclass(frozen=True)
class FeasibleStructures:
    """The feasible structures of one study space, as indices into the values of each structural dimension."""

    space: StudySpace
    dimensions: tuple[Dimension, ...]
    structures: int
    """Number of structures, feasible or not."""
    feasible: int
    """Number of feasible structures: exact, or estimated from a sample."""
    exact: bool
    indices: np.ndarray
    """(F, d) int32: a row for each feasible structure known; all of them when ``exact``."""
    counts: np.ndarray
    """(F,) the budgeted count of each row; zeros without a budget."""
    active: np.ndarray
    """(F, d) whether each dimension is active in that row."""
    nearest: tuple[Nearest, ...]
    """Where nothing is feasible: what comes nearest to the budget."""

    def __len__(self) -> int:
        return len(self.indices)

    def row(self, index: int) -> dict[str, Any]:
        """The values of one feasible structure; inactive dimensions are left out."""
        return {
            dimension.name: value
            for position, dimension in enumerate(self.dimensions)
            if self.active[index, position]
            for value in [value_at(dimension, int(self.indices[index, position]))]
        }

    def nearest_row(self, drawn: Mapping[str, Any]) -> int:
        """The feasible structure nearest to a candidate, each dimension scaled to the range that is searched."""
        distance = np.zeros(len(self), dtype=np.float32)
        for position, dimension in enumerate(self.dimensions):
            if dimension.name in drawn:
                gap = np.abs(self._positions[:, position] - dimension.position(drawn[dimension.name]))
                ordered = getattr(dimension, "is_ordered", True)
                distance += (np.square(gap) if ordered else gap > 0) * self.active[:, position]
        return int(np.argmin(distance))

    def draw_row(self, generator: np.random.Generator) -> int:
        """A feasible structure drawn with the prior weights of its dimensions."""
        return int(np.searchsorted(self._cumulative, generator.random() * self._cumulative[-1], side="right"))

    @cached_property
    def _positions(self) -> np.ndarray:
        columns = [dimension.positions(self.indices[:, i]) for i, dimension in enumerate(self.dimensions)]
        return np.stack(columns, axis=1).astype(np.float32)

    @cached_property
    def _cumulative(self) -> np.ndarray:
        weights = np.ones(len(self))
        for position, dimension in enumerate(self.dimensions):
            mass = dimension.weights()[self.indices[:, position]]
            weights *= np.where(self.active[:, position], mass, 1.0)
        return np.cumsum(weights)


@dataclass(frozen=True)
class _Evaluated:
    """A chunk of candidates: which meet everything but the budget, which are canonical, their counts and activity."""

    met: np.ndarray
    canonical: np.ndarray
    counts: np.ndarray
    active: np.ndarray


class _Evaluator:
    """Evaluates chunks of index rows, many at once where every part allows it, else one by one."""

    def __init__(self, space: StudySpace, dimensions: tuple[Dimension, ...]) -> None:
        self.space = space
        self.dimensions = dimensions
        self.one_by_one = 0
        """Evaluations of single candidates, where it could not be done for many at once."""
        self._vectorised = True

    def evaluate(self, indices: np.ndarray) -> _Evaluated:
        """Raises NotDrawn when a constraint looks at a dimension that is not among ours."""
        columns = {d.name: d.column(indices[:, i]) for i, d in enumerate(self.dimensions)}
        if self._vectorised:
            try:
                return self._evaluate_many(columns, indices)
            except (NotVectorisable, Infeasible, ValueError, TypeError):
                self._vectorised = False
        return self._evaluate_rows(columns, indices)

    def _evaluate_many(self, columns: Mapping[str, np.ndarray], indices: np.ndarray) -> _Evaluated:
        size = len(indices)
        assignment = Assignment(self.space.fields, columns)
        active = np.ones(indices.shape, dtype=bool)
        for position, dimension in enumerate(self.dimensions):
            active[:, position] = self.space.searched[dimension.name].active(assignment)
        met = np.broadcast_to(np.asarray(self.space.meets_constraints(assignment), dtype=bool), size)
        counts = np.broadcast_to(np.asarray(self.space.budget_count(assignment)), size)
        self.one_by_one += assignment.one_by_one
        return _Evaluated(met, (active | (indices == 0)).all(axis=1), counts, active)

    def _evaluate_rows(self, columns: Mapping[str, np.ndarray], indices: np.ndarray) -> _Evaluated:
        size = len(indices)
        self.one_by_one += size
        met, counts = np.zeros(size, dtype=bool), np.zeros(size, dtype=np.int64)
        active = np.ones(indices.shape, dtype=bool)
        for row in range(size):
            assignment = Assignment(self.space.fields, {name: plain(column[row]) for name, column in columns.items()})
            try:
                active[row] = [self.space.searched[d.name].active(assignment) for d in self.dimensions]
                met[row] = self.space.meets_constraints(assignment)
                counts[row] = self.space.budget_count(assignment) if met[row] else 0
            except Infeasible:
                met[row] = False
        return _Evaluated(met, (active | (indices == 0)).all(axis=1), counts, active)


def find_feasible(space: StudySpace, seed: int = 0, over_all: bool = False) -> FeasibleStructures:
    """The feasible structures of a space; ``seed`` matters only where there are too many to enumerate.

    With ``over_all`` every dimension counts as structural, so that each row is a whole configuration.
    """
    names: list[str] = list(space.searched) if over_all else []
    while True:
        dimensions = tuple(space.searched[name].dimension for name in space.searched if name in names)
        try:
            return _Search(space, dimensions, seed).run()
        except NotDrawn as missing:
            names.append(missing.dimension)


class _Search:
    def __init__(self, space: StudySpace, dimensions: tuple[Dimension, ...], seed: int) -> None:
        self.space = space
        self.dimensions = dimensions
        self.sizes = tuple(dimension.lattice_size for dimension in dimensions)
        self.total = math.prod(self.sizes)
        self.exact = self.total <= EXACT_LIMIT and all(dimension.size for dimension in dimensions)
        self.generator = np.random.default_rng(seed)
        self.evaluator = _Evaluator(space, dimensions)
        self.evaluated = 0
        self.structures = 0
        self.found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.misses: list[tuple[float, int, np.ndarray]] = []

    def run(self) -> FeasibleStructures:
        for indices in self._enumerated() if self.exact else self._sampled():
            self._take(indices)
        known = sum(len(counts) for _, counts, _ in self.found)
        if self.exact:
            return self._result(self.structures, known)
        drawn, canonical = self.evaluated, self.structures
        if known < 1000:
            self._climb(starts=16 if self.evaluator.one_by_one else 64)
        estimate = round(known / drawn * self.total) or sum(len(counts) for _, counts, _ in self.found)
        return self._result(round(canonical / drawn * self.total), estimate)

    def _enumerated(self) -> Iterator[np.ndarray]:
        for start in range(0, self.total, _CHUNK):
            flat = np.arange(start, min(start + _CHUNK, self.total))
            yield np.stack(np.unravel_index(flat, self.sizes), axis=1) if self.sizes else np.zeros((1, 0), dtype=np.int64)

    def _sampled(self) -> Iterator[np.ndarray]:
        while self.evaluated < _SAMPLED_POINTS and self.evaluator.one_by_one < _ONE_BY_ONE:
            if sum(len(counts) for _, counts, _ in self.found) >= _POOL_LIMIT:
                return
            yield np.stack([self.generator.integers(0, size, _SAMPLED_AT_ONCE) for size in self.sizes], axis=1)

    def _take(self, indices: np.ndarray) -> np.ndarray:
        """Keeps the feasible rows; returns each row's distance to the budget (infinite where another rule is broken)."""
        seen = self.evaluator.evaluate(indices)
        admitted = seen.met & seen.canonical
        self.evaluated += len(indices)
        self.structures += int(seen.canonical.sum())
        budget = self.space.budget
        distance = np.asarray(budget.distance(seen.counts) if budget else np.zeros(len(indices)), dtype=float)
        feasible = admitted & (distance == 0)
        self.found.append((indices[feasible].astype(np.int32), seen.counts[feasible], seen.active[feasible]))
        distance = np.where(admitted, distance, np.inf)
        for row in np.argsort(np.where(feasible, np.inf, distance), kind="stable")[:_NEAREST]:
            if np.isfinite(distance[row]) and not feasible[row]:
                self.misses.append((float(distance[row]), int(seen.counts[row]), indices[row]))
        self.misses = sorted(self.misses, key=lambda miss: miss[0])[:_NEAREST]
        return distance

    def _climb(self, starts: int, rounds: int = 3) -> None:
        """Moves the sampled points nearest to the budget nearer, one dimension at a time, keeping what becomes feasible."""
        rows = [self.generator.integers(0, size, starts) for size in self.sizes]
        points = np.stack(rows, axis=1)
        for position in list(range(len(self.sizes))) * rounds:
            options = self.generator.permutation(self.sizes[position])[:64]
            tried = np.repeat(points[:, None, :], len(options), axis=1)
            tried[:, :, position] = options
            distance = self._take(tried.reshape(-1, len(self.sizes))).reshape(starts, len(options))
            points = tried[np.arange(starts), distance.argmin(axis=1)]

    def _result(self, structures: int, feasible: int) -> FeasibleStructures:
        width = len(self.dimensions)
        indices = np.concatenate([rows for rows, _, _ in self.found] or [np.zeros((0, width), dtype=np.int32)])
        counts = np.concatenate([counts for _, counts, _ in self.found] or [np.zeros(0)])
        active = np.concatenate([active for _, _, active in self.found] or [np.zeros((0, width), dtype=bool)])
        if not self.exact:
            indices, first = np.unique(indices, axis=0, return_index=True)
            counts, active = counts[first], active[first]
        nearest = () if len(indices) else tuple(Nearest(self._values(row), count) for _, count, row in self.misses)
        return FeasibleStructures(self.space, self.dimensions, structures, feasible, self.exact, indices, counts, active, nearest)

    def _values(self, row: np.ndarray) -> dict[str, Any]:
        return {d.name: value_at(d, int(row[i])) for i, d in enumerate(self.dimensions)}


def value_at(dimension: Dimension, index: int) -> Any:
    """The value of a dimension at an index of its lattice, as plain Python."""
    return plain(dimension.column(np.array([index]))[0])
