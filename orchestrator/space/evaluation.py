"""Evaluates many candidates of a space: all at once, else in parts that can be done at once, else one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.expression import NotVectorisable
from orchestrator.space.assignment import Assignment, Infeasible
from orchestrator.space.dimension import Dimension
from orchestrator.space.study_space import StudySpace, plain
from orchestrator.space.value import NotUniform

_FEW = 4
"""Fewer candidates are done faster one by one."""

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Evaluated:
    """N candidates: which meet everything but the budget, their counts (N,), and which dimensions are active (N, d)."""

    met: np.ndarray
    counts: np.ndarray
    active: np.ndarray


class Evaluator:
    """Evaluates rows of indices into the values of ``dimensions``."""

    def __init__(self, space: StudySpace, dimensions: tuple[Dimension, ...]) -> None:
        self.space = space
        self.dimensions = dimensions
        self.one_by_one = 0
        """Evaluations of single candidates and of parts, where it could not be done for many at once."""

    def evaluate(self, indices: np.ndarray) -> Evaluated:
        """Evaluates (N, d) indices; raises NotDrawn when a constraint looks at a dimension that is not among ours."""
        return self._evaluate(self._columns(indices), len(indices))

    def evaluate_one_by_one(self, indices: np.ndarray) -> Evaluated:
        """The same, slowly."""
        return self._one_by_one(self._columns(indices), len(indices))

    def _columns(self, indices: np.ndarray) -> Columns:
        return {d.name: d.column(indices[:, i]) for i, d in enumerate(self.dimensions)}

    def _evaluate(self, columns: Columns, size: int) -> Evaluated:
        if size < _FEW:
            return self._one_by_one(columns, size)
        try:
            return self._at_once(columns, size)
        except NotUniform as differing:
            return self._in_parts(columns, differing.codes)
        except (NotVectorisable, ArithmeticError, IndexError, ValueError, TypeError):
            return self._one_by_one(columns, size)

    def _at_once(self, columns: Columns, size: int) -> Evaluated:
        assignment = Assignment(self.space.fields, columns)
        active = np.ones((size, len(self.dimensions)), dtype=bool)
        met, counts = np.zeros(size, dtype=bool), np.zeros(size, dtype=np.int64)
        try:
            for position, dimension in enumerate(self.dimensions):
                active[:, position] = self.space.searched[dimension.name].active(assignment)
            met = np.broadcast_to(np.asarray(self.space.meets_constraints(assignment), dtype=bool), size)
            counts = np.broadcast_to(np.asarray(self.space.budget_count(assignment)), size)
        except Infeasible:
            # Raised for what is the same in all candidates.
            met = np.zeros(size, dtype=bool)
        self.one_by_one += assignment.one_by_one
        return Evaluated(met, counts, active)

    def _in_parts(self, columns: Columns, codes: np.ndarray) -> Evaluated:
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order])) + 1
        parts = np.split(order, starts)
        self.one_by_one += len(parts)
        found = [self._evaluate({name: column[part] for name, column in columns.items()}, len(part)) for part in parts]
        return _joined(found, np.argsort(order, kind="stable"))

    def _one_by_one(self, columns: Columns, size: int) -> Evaluated:
        self.one_by_one += size
        met, counts = np.zeros(size, dtype=bool), np.zeros(size, dtype=np.int64)
        active = np.ones((size, len(self.dimensions)), dtype=bool)
        for row in range(size):
            assignment = Assignment(self.space.fields, {name: plain(column[row]) for name, column in columns.items()})
            try:
                active[row] = [self.space.searched[d.name].active(assignment) for d in self.dimensions]
                met[row] = self.space.meets_constraints(assignment)
                counts[row] = self.space.budget_count(assignment) if met[row] else 0
            except Infeasible:
                met[row] = False
        return Evaluated(met, counts, active)


def _joined(parts: Sequence[Evaluated], places: np.ndarray) -> Evaluated:
    """The parts one behind the other, then each candidate taken from its place there."""
    met, counts, active = (
        np.concatenate([getattr(part, name) for part in parts])[places] for name in ("met", "counts", "active")
    )
    return Evaluated(met, counts, active)
