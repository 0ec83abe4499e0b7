"""Dimensions: the ranges and choices that a sampler draws from. One name, one Optuna distribution, one set of values."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

CONTINUUM_POINTS = 1025
"""Points that stand for a continuum where a hard constraint depends on one."""

ROUNDING = 1e-12
"""Relative difference of real numbers that counts as none: 3 * 0.1 is the 0.3 at which another range ends."""
_STEP_ROUNDING = 1e-9
"""The same for a number of steps; Optuna allows ten times as much."""


@dataclass(frozen=True)
class IntegerDimension:
    """Whole numbers from ``low`` to ``high`` inclusive, every ``step``; ``log`` draws uniformly in the logarithm."""

    name: str
    low: int
    high: int
    step: int = 1
    log: bool = False

    @cached_property
    def distribution(self) -> BaseDistribution:
        return IntDistribution(self.low, self.low + (self.size - 1) * self.step, log=self.log, step=self.step)

    @property
    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    @property
    def lattice_size(self) -> int:
        return self.size

    def column(self, indices: np.ndarray) -> np.ndarray:
        """The values at ``indices``."""
        return self.low + self.step * indices

    def position(self, value: Any) -> float:
        """Where ``value`` lies in the range, 0 to 1, on the scale that is drawn from."""
        return _position(value, self.low, self.high, self.log)

    def positions(self, indices: np.ndarray) -> np.ndarray:
        return _positions(self.column(indices).astype(float), self.low, self.high, self.log)

    def mass(self, indices: np.ndarray) -> np.ndarray:
        """The prior probability of the value at each index; that of all values sums to 1."""
        if not self.log:
            return np.full(len(indices), 1 / self.size)
        values = self.column(indices).astype(float)
        low, high = self._log_ends
        return np.asarray(np.log((values + 0.5) / (values - 0.5)) / (high - low))

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """(count,) indices drawn from the prior."""
        if not self.log:
            return np.asarray(generator.integers(0, self.size, count))
        values = np.rint(np.exp(generator.uniform(*self._log_ends, count)))
        return np.asarray(np.clip(values - self.low, 0, self.size - 1).astype(np.int64))

    @property
    def _log_ends(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def label(self, value: Any) -> Any:
        return value

    def value_of(self, label: Any) -> Any:
        return int(label)

    def contains(self, value: Any) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True)
class FloatDimension:
    """Real numbers from ``low`` to ``high``; with ``step`` a finite list, without it a continuum."""

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @cached_property
    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self._last, log=self.log, step=self.step)

    @property
    def _last(self) -> float:
        """The last value. Decimal, as in Optuna: 3 * 0.3 must not fall short of 0.9."""
        if self.step is None:
            return self.high
        return float(Decimal(str(self.low)) + (self.size - 1) * Decimal(str(self.step)))

    @property
    def size(self) -> int:
        """Number of values; 0 for a continuum."""
        return 0 if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def lattice_size(self) -> int:
        return self.size or CONTINUUM_POINTS

    def column(self, indices: np.ndarray) -> np.ndarray:
        if self.step is not None:
            return np.clip(self.low + self.step * indices, self.low, self._last)
        share = indices / (CONTINUUM_POINTS - 1)
        if self.log:
            return np.clip(self.low * (self.high / self.low) ** share, self.low, self.high)
        return np.asarray(self.low + (self.high - self.low) * share)

    def position(self, value: Any) -> float:
        return _position(value, self.low, self.high, self.log)

    def positions(self, indices: np.ndarray) -> np.ndarray:
        return _positions(self.column(indices), self.low, self.high, self.log)

    def mass(self, indices: np.ndarray) -> np.ndarray:
        return np.full(len(indices), 1 / self.lattice_size)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        return np.asarray(generator.integers(0, self.lattice_size, count))

    def label(self, value: Any) -> Any:
        return value

    def value_of(self, label: Any) -> Any:
        return float(label)

    def contains(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.drawn_for(value) is not None

    def drawn_for(self, value: float) -> float | None:
        """``value`` where it can be drawn, or the end that it misses by rounding alone; else None."""
        low, last = float(self.low), float(self._last)
        drawn = min(max(float(value), low), last)
        if not math.isclose(value, drawn, rel_tol=ROUNDING, abs_tol=ROUNDING * (last - low)):
            return None
        steps = (drawn - low) / self.step if self.step is not None else 0
        return drawn if abs(steps - round(steps)) <= _STEP_ROUNDING else None


@dataclass(frozen=True)
class ChoiceDimension:
    """One of a list of values, which may be numbers, text, truth values, lists or mappings."""

    name: str
    choices: tuple[Any, ...]

    @cached_property
    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution([self.label(choice) for choice in self.choices])

    @property
    def size(self) -> int:
        return len(self.choices)

    @property
    def lattice_size(self) -> int:
        return self.size

    @cached_property
    def _values(self) -> np.ndarray:
        kinds = {type(choice) for choice in self.choices}
        if len(kinds) == 1 and kinds <= {int, float, bool, str}:
            return np.array(self.choices)
        values = np.empty(len(self.choices), dtype=object)
        values[:] = self.choices
        return values

    def column(self, indices: np.ndarray) -> np.ndarray:
        return np.asarray(self._values[indices])

    @cached_property
    def _is_numeric(self) -> bool:
        return self.size > 1 and all(isinstance(choice, (int, float)) and not isinstance(choice, bool) for choice in self.choices)

    def position(self, value: Any) -> float:
        """Numbers lie by their rank; anything else by its place in the list, compared for equality only."""
        index = self.choices.index(value)
        if not self._is_numeric:
            return float(index)
        return sorted(self.choices).index(value) / (self.size - 1)

    def positions(self, indices: np.ndarray) -> np.ndarray:
        positions: np.ndarray = np.array([self.position(choice) for choice in self.choices])
        return np.asarray(positions[indices])

    @property
    def is_ordered(self) -> bool:
        return self._is_numeric

    def mass(self, indices: np.ndarray) -> np.ndarray:
        return np.full(len(indices), 1 / self.size)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        return np.asarray(generator.integers(0, self.size, count))

    def label(self, value: Any) -> Any:
        """What Optuna sees: the value itself where that is plain and unmistakable, else its JSON text."""
        plain = all(isinstance(choice, (int, float, str)) and not isinstance(choice, bool) for choice in self.choices)
        return value if plain else json.dumps(value, sort_keys=True)

    def value_of(self, label: Any) -> Any:
        return next(choice for choice in self.choices if self.label(choice) == label)

    def contains(self, value: Any) -> bool:
        return any(type(choice) is type(value) and choice == value for choice in self.choices)


Dimension = IntegerDimension | FloatDimension | ChoiceDimension


def _position(value: float, low: float, high: float, log: bool) -> float:
    return float(_positions(np.array([float(value)]), low, high, log)[0])


def _positions(values: np.ndarray, low: float, high: float, log: bool) -> np.ndarray:
    if high == low:
        return np.zeros(len(values))
    if log:
        return np.asarray((np.log(values) - math.log(low)) / (math.log(high) - math.log(low)))
    return np.asarray((values - low) / (high - low))
