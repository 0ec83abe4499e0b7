"""The points of a lattice, without those that differ in inactive dimensions alone, where only lists' lengths decide on these."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.space.dimension import Dimension
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import LengthGuard, Searched

_MOST_PATTERNS = 1024


@dataclass(frozen=True)
class Pattern:
    """One assignment of all lengths: their indices by position, and the positions of the other dimensions that are active."""

    fixed: dict[int, int]
    free: tuple[int, ...]


class Patterns:
    """Every assignment of the lengths, which together make all structures."""

    def __init__(self, dimensions: tuple[Dimension, ...], patterns: list[Pattern]) -> None:
        self._sizes = tuple(dimension.lattice_size for dimension in dimensions)
        self._patterns = patterns

    @property
    def structures(self) -> int:
        return sum(self._structures(pattern) for pattern in self._patterns)

    def points(self, chunk: int) -> Iterator[np.ndarray]:
        """All structures, in chunks of at most (chunk, d) indices; what is inactive has index 0."""
        for pattern in self._patterns:
            total, sizes = self._structures(pattern), tuple(self._sizes[position] for position in pattern.free)
            for start in range(0, total, chunk):
                flat = np.arange(start, min(start + chunk, total))
                indices = np.zeros((len(flat), len(self._sizes)), dtype=np.int64)
                for position, index in pattern.fixed.items():
                    indices[:, position] = index
                if sizes:
                    indices[:, list(pattern.free)] = np.stack(np.unravel_index(flat, sizes), axis=1)
                yield indices

    def _structures(self, pattern: Pattern) -> int:
        return math.prod(self._sizes[position] for position in pattern.free)


def length_patterns(space: StudySpace, dimensions: tuple[Dimension, ...]) -> Patterns | None:
    """None where something else than a length that is searched decides what is active, or where there are too many patterns."""
    names = [dimension.name for dimension in dimensions]
    guards = [guard for name in names for guard in space.searched[name].guards]
    lengths = [guard.length for guard in guards if isinstance(guard, LengthGuard)]
    deciding = {length.dimension.name for length in lengths if isinstance(length, Searched)}
    if len(lengths) < len(guards) or not all(isinstance(length, Searched) for length in lengths) or not deciding <= {*names}:
        return None
    drawn: list[dict[str, Any]] = [{}]
    for name in [name for name in names if name in deciding]:
        drawn = [wider for known in drawn for wider in _drawn_too(space, name, known)]
        if len(drawn) > _MOST_PATTERNS:
            return None
    return Patterns(dimensions, [_pattern(space, names, deciding, known) for known in drawn])


def _drawn_too(space: StudySpace, name: str, known: dict[str, Any]) -> list[dict[str, Any]]:
    """``known`` with each length that is possible there."""
    if not space.active(name, known):
        return [known]
    dimension = space.searched[name].dimension
    return [{**known, name: value} for value in dimension.column(np.arange(dimension.size)).tolist()]


def _pattern(space: StudySpace, names: list[str], deciding: set[str], known: dict[str, Any]) -> Pattern:
    fixed = {}
    for name, value in known.items():
        dimension = space.searched[name].dimension
        fixed[names.index(name)] = dimension.column(np.arange(dimension.size)).tolist().index(value)
    others = (position for position, name in enumerate(names) if name not in deciding and space.active(name, known))
    return Pattern(fixed, tuple(others))
