"""Which windows of a series are trained on, and which are kept for validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Literal

import torch
from torch import Tensor

SplitKind = Literal["random", "chronological", "block"]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a series is split; ``fraction`` is that of the windows (``random``) or of the values (the others) kept for validation.

    ``random`` draws among all windows, as published: since windows overlap, validation values have been trained on.
    ``chronological`` keeps the last values, ``block`` one contiguous block whose place is drawn from ``seed``; their windows lie
    in one part with inputs and target, so that no value is in both. The parts do not depend on the length of a window.
    """

    kind: SplitKind
    fraction: float
    seed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Windows by the index of their first value; a window of T values and its target cover T + 1 values."""

    training: Tensor
    """(n,) int64, in the order of training, which is drawn once from the seed."""
    validation: Tensor
    """(m,) int64."""
    fitted: tuple[range, ...]
    """Values that the normalisation may know."""
    evaluated: range
    """Values that one-step and multi-step prediction go through: those kept for validation, or all of them where windows leak."""


def split_windows(length: int, time_steps: int, rule: SplitRule) -> Split:
    """Splits a series of ``length`` values; either part may be empty where ``time_steps`` exceeds :func:`largest_time_steps`."""
    generator = torch.Generator().manual_seed(rule.seed)
    if rule.kind == "random":
        windows = max(0, length - time_steps)
        order = torch.randperm(windows, generator=generator)
        training = _training_count(windows, rule.fraction)
        return Split(order[:training], order[training:], (range(length),), range(length))
    training_parts, validation_part = _parts(length, rule, generator)
    starts = torch.cat([_windows_in(part, time_steps) for part in training_parts])
    order = torch.randperm(len(starts), generator=generator)
    return Split(starts[order], _windows_in(validation_part, time_steps), training_parts, validation_part)


def largest_time_steps(length: int, rule: SplitRule) -> int:
    """The longest window of which each part has one; below 1 where the series is too short for any."""
    if rule.kind == "random":
        needed = next(windows for windows in count(2) if _training_count(windows, rule.fraction) >= 1)
        return length - needed
    training_parts, validation_part = _parts(length, rule, torch.Generator().manual_seed(rule.seed))
    return min(max(map(len, training_parts)), len(validation_part)) - 1


def _training_count(windows: int, fraction: float) -> int:
    # What is left of the division goes to validation; the small number undoes the rounding of 1 - fraction.
    return int(windows * (1 - fraction) + 1e-9)


def _parts(length: int, rule: SplitRule, generator: torch.Generator) -> tuple[tuple[range, ...], range]:
    held_out = math.ceil(length * rule.fraction - 1e-9)
    start = length - held_out
    if rule.kind == "block":
        start = int(torch.randint(0, start + 1, (), generator=generator))
    end = start + held_out
    return (range(start), range(end, length)), range(start, end)


def _windows_in(part: range, time_steps: int) -> Tensor:
    return torch.arange(part.start, max(part.start, part.stop - time_steps))
