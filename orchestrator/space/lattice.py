"""The lattice of a list of dimensions: one index a dimension. Lists it, draws from it, says how likely its points are."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from orchestrator.space.dimension import Dimension, IntegerDimension

_SMALL = 16
"""Dimensions of so few values at most make strata."""
_MOST_STRATA = 256


class Lattice:
    """All combinations of the values of ``dimensions``.

    Points are drawn one half uniformly and one half from the prior of the dimensions: the uniform half finds what lies where a
    ``log`` dimension has little mass, the other one what lies among its small values.
    """

    def __init__(self, dimensions: tuple[Dimension, ...]) -> None:
        self.dimensions = dimensions
        self.sizes = tuple(dimension.lattice_size for dimension in dimensions)
        self.total = math.prod(self.sizes)
        self._has_prior = any(isinstance(dimension, IntegerDimension) and dimension.log for dimension in dimensions)

    def points(self, chunk: int) -> Iterator[np.ndarray]:
        """All points, in chunks of at most (chunk, d) indices."""
        for start in range(0, self.total, chunk):
            flat = np.arange(start, min(start + chunk, self.total))
            yield np.stack(np.unravel_index(flat, self.sizes), axis=1) if self.sizes else np.zeros((1, 0), dtype=np.int64)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """(count, d) indices; ``count`` is even."""
        drawn = np.stack([generator.integers(0, size, count) for size in self.sizes], axis=1)
        if self._has_prior:
            half = count // 2
            drawn[half:] = np.stack([dimension.draw(generator, count - half) for dimension in self.dimensions], axis=1)
        return drawn

    def log_prior(self, indices: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The logarithm of the prior probability that the active dimensions take these values, (N,)."""
        if not self.dimensions:
            return np.zeros(len(indices))
        logs = [np.log(dimension.mass(indices[:, i])) for i, dimension in enumerate(self.dimensions)]
        return np.asarray((np.stack(logs, axis=1) * active).sum(axis=1))

    def log_drawn(self, indices: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The same for :meth:`draw`."""
        uniform = -(np.log(np.array(self.sizes, dtype=float)) * active).sum(axis=1)
        if not self._has_prior:
            return np.asarray(uniform)
        return np.asarray(np.logaddexp(uniform, self.log_prior(indices, active)) - math.log(2))


class Strata:
    """The combinations of those ``eligible`` dimensions that have few values: each is to be searched by itself."""

    def __init__(self, lattice: Lattice, eligible: list[bool]) -> None:
        positions: list[int] = []
        for position in sorted(range(len(lattice.sizes)), key=lambda i: lattice.sizes[i]):
            size = math.prod(lattice.sizes[i] for i in [*positions, position])
            if eligible[position] and lattice.sizes[position] <= _SMALL and size <= _MOST_STRATA:
                positions.append(position)
        self.positions = sorted(positions)
        self._sizes = tuple(lattice.sizes[position] for position in self.positions)
        self.count = math.prod(self._sizes)

    def of(self, indices: np.ndarray) -> np.ndarray:
        """The stratum of each point, (N,) from 0."""
        if not self.positions:
            return np.zeros(len(indices), dtype=np.int64)
        return np.asarray(np.ravel_multi_index(tuple(indices[:, self.positions].T), self._sizes))

    def move(self, indices: np.ndarray, strata: np.ndarray) -> None:
        """Puts each point into the given stratum, leaving what it has besides."""
        if self.positions:
            indices[:, self.positions] = np.stack(np.unravel_index(strata, self._sizes), axis=1)
