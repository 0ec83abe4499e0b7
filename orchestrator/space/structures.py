"""The structures that meet every hard constraint: enumerated up to a million, else a sample that was searched for.

A structure is an assignment of the dimensions on which a hard constraint depends. Which these are is found by evaluating:
a dimension that is looked at and has no value yet is added, and the evaluation begins again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from orchestrator.space.assignment import NotDrawn
from orchestrator.space.dimension import Dimension
from orchestrator.space.feasible_search import FeasibleSearch, Found
from orchestrator.space.study_space import StudySpace, plain


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
    mass: np.ndarray
    """(F,) how likely each row is, in proportion: its prior probability, or, in a sample, what it stands for of that."""
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
        return np.cumsum(self.mass)


def find_feasible(space: StudySpace, seed: int = 0, over_all: bool = False) -> FeasibleStructures:
    """The feasible structures of a space; ``seed`` matters only where there are too many to enumerate.

    With ``over_all`` every dimension counts as structural, so that each row is a whole configuration.
    """
    names: list[str] = list(space.searched) if over_all else []
    while True:
        dimensions = tuple(space.searched[name].dimension for name in space.searched if name in names)
        try:
            return _as_structures(space, dimensions, FeasibleSearch(space, dimensions, seed).run())
        except NotDrawn as missing:
            names.append(missing.dimension)


def _as_structures(space: StudySpace, dimensions: tuple[Dimension, ...], found: Found) -> FeasibleStructures:
    def values(row: np.ndarray) -> dict[str, Any]:
        return {d.name: value_at(d, int(row[i])) for i, d in enumerate(dimensions)}

    rows = found.rows
    nearest = () if len(rows.indices) else tuple(Nearest(values(row), count) for _, count, row in found.misses)
    return FeasibleStructures(
        space=space,
        dimensions=dimensions,
        structures=found.structures,
        feasible=found.feasible,
        exact=found.exact,
        indices=rows.indices,
        counts=rows.counts,
        active=rows.active,
        mass=rows.mass,
        nearest=nearest,
    )


def value_at(dimension: Dimension, index: int) -> Any:
    """The value of a dimension at an index of its lattice, as plain Python."""
    return plain(dimension.column(np.array([index]))[0])


def values_at_part(dimensions: Mapping[str, Dimension], halves: int) -> dict[str, Any]:
    """The lower ends (0 ``halves``), middles (1) or upper ends (2) of all dimensions."""
    return {name: value_at(dimension, halves * (dimension.lattice_size - 1) // 2) for name, dimension in dimensions.items()}
