"""The Pareto front: trials that no other is better than in one objective without being worse in another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from orchestrator.sweep.state import TrialState


def non_dominated(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[int]:
    """The indices, ascending, of the points that no other dominates; equal points do not dominate each other.

    ``points`` has a row for each point and a finite number for each of ``modes``, which are ``min`` or ``max``. One point
    dominates another if it is nowhere worse and somewhere better (Deb 2001, Multi-Objective Optimization using Evolutionary
    Algorithms, definition 2.5).
    """
    signs = np.array([1.0 if mode == "max" else -1.0 for mode in modes])
    values = np.array(points, dtype=float).reshape(len(points), len(modes)) * signs
    return [index for index, value in enumerate(values) if not _dominates(values, value)]


def pareto_front(trials: Iterable[TrialState], modes: Sequence[str]) -> list[TrialState]:
    """The completed trials on the front, in their order; the others are left out."""
    valued = [(trial, trial.values) for trial in trials if trial.values]
    return [valued[index][0] for index in non_dominated([values for _, values in valued], modes)]


def _dominates(values: np.ndarray, value: np.ndarray) -> bool:
    """Whether any of ``values``, shape [points, objectives], larger is better, dominates ``value``, shape [objectives]."""
    return bool(((values >= value).all(axis=1) & (values > value).any(axis=1)).any())
