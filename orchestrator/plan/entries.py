"""What the runs of an entry are expected to take, over a few of its configurations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.packing.classes import WHOLE, GpuClass, class_of
from orchestrator.packing.packer import is_alone
from orchestrator.packing.prediction import Prediction
from orchestrator.space.assignment import Infeasible
from orchestrator.space.structures import find_feasible, value_at, values_at_part
from orchestrator.space.study_space import StudySpace
from trainables.configuration import ConfigurationError
from trainables.counts import ParameterCounts
from trainables.task import rules_of_pair
from trainables.training.configuration import TrainingConfiguration
from trainables.training.estimate import estimated_run_mib
from trainables.training.request import ResolvedRun

_SAMPLES = 8
_STATE_COPIES = 3
"""A checkpoint holds the weights and Adam's two moments."""
_BYTES = 4
_FLOPS_PER_PARAMETER_AND_TOKEN = 6
"""Forward and backward pass of a matrix product (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""
_EFFICIENCY = 0.15
"""Share of a plain matrix product's speed that small models reach in training: seen on one CPU core, for a rough figure."""


@dataclass(frozen=True)
class EntryPlan:
    """Ranges over a few feasible configurations of an entry."""

    predicted_mib: tuple[float, float]
    run_seconds: float | None
    """Rough; None where the task does not say how much an epoch is."""
    checkpoint_bytes: int
    """Of one checkpoint, the largest of these configurations."""
    sizes: tuple[GpuClass, ...] = ()
    """The share of a GPU that each of these configurations gets, where runs are packed."""


class Sizing:
    """What configurations are expected to take of a GPU, and the share of it that they get; ``data_of`` gives the folder of a
    configuration's prepared data, None where there is none."""

    def __init__(self, capacity_mib: float, data_of: Callable[[ResolvedRun], Path | None]) -> None:
        self._capacity_mib = capacity_mib
        self._data_of = data_of
        self._prediction = Prediction(lambda request: None)

    def of(self, resolved: ResolvedRun) -> tuple[float, GpuClass]:
        """MiB, CUDA context included, and the class."""
        expected = self._prediction.expect_resolved(resolved, self._data_of(resolved))
        size = class_of(expected.with_margin_mib, self._capacity_mib)
        return expected.mib, WHOLE if is_alone(resolved.task_type.name) else size


def plan_entry(cells: tuple[StudySpace, ...], speed: float, sizing: Sizing | None) -> EntryPlan:
    """``speed``: floating-point operations per second; ``sizing``: where runs are packed."""
    drawn = [(cell, structure) for cell in cells for structure in _structures(cell)]
    memory, seconds, size = [], [], 0
    for cell, structure in drawn:
        run = _resolved(cell, structure)
        counts = run.architecture.count(run.model, run.task)
        memory.append(_predicted(run, counts))
        seconds.append(_seconds(run, counts, speed))
        size = max(size, run.task_type.trains * int(counts.trainable) * _BYTES * _STATE_COPIES)
    known = [value for value in seconds if value is not None]
    rough = float(np.mean(known)) if len(known) == len(seconds) else None
    sized = [sizing.of(run) for cell, structure in drawn for run in _over_ranges(cell, structure)] if sizing else []
    memory = [expected for expected, _ in sized] or memory
    return EntryPlan((min(memory), max(memory)), rough, size, tuple(share for _, share in sized))


def _structures(space: StudySpace) -> list[Mapping[str, Any]]:
    found = find_feasible(space)
    return [found.row(index) for index in sorted({round(i) for i in np.linspace(0, len(found) - 1, _SAMPLES)})]


def _over_ranges(space: StudySpace, structure: Mapping[str, Any]) -> Iterator[ResolvedRun]:
    """The structure with everything else that is searched at the lower end, in the middle and at the upper end of its range."""
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    for halves in range(3):
        # Ends may break a rule that the middle keeps.
        with contextlib.suppress(Infeasible, ConfigurationError):
            run = _resolved(space, {**values_at_part(dimensions, halves), **structure})
            if all(rule.holds(run.model, run.task) for rule in rules_of_pair(space.architecture, space.task_type)):
                yield run


def _resolved(space: StudySpace, drawn: Mapping[str, Any]) -> ResolvedRun:
    """What was drawn, with everything else that is searched in the middle of its range."""
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    middle = {name: value_at(dimension, dimension.lattice_size // 2) for name, dimension in dimensions.items()}
    configuration = space.resolve({**middle, **drawn})
    return ResolvedRun(
        space.architecture,
        space.task_type,
        space.architecture.configuration.from_values(configuration.model),
        space.task_type.configuration_type.from_values(configuration.task),
        TrainingConfiguration.from_values(configuration.training),
    )


def _predicted(run: ResolvedRun, counts: ParameterCounts) -> float:
    told = run.task_type.predicted_mib(run.architecture, run.model, run.task)
    return estimated_run_mib(run, counts, run.training.batch_size) if told is None else told


def _seconds(run: ResolvedRun, counts: ParameterCounts, speed: float) -> float | None:
    try:
        tokens = run.task_type.epoch_tokens(run.task)
    except ConfigurationError:  # of a combination that cannot run; `check` looks at one field at a time
        return None
    if tokens is None:
        return None
    worked = int(counts.total) - int(counts.embedding)
    return _FLOPS_PER_PARAMETER_AND_TOKEN * worked * tokens * max(1, run.training.epochs) / (speed * _EFFICIENCY)


def matrix_product_flops(size: int = 384, repeats: int = 4) -> float:
    """Floating-point operations per second of a matrix product on one slot of this machine, at its fastest."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.randn(size, size, device=device)
        float((matrix @ matrix).sum())
        return 2 * size**3 / min(_seconds_of_product(matrix) for _ in range(repeats))
    finally:
        torch.set_num_threads(threads)


def _seconds_of_product(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    float((matrix @ matrix).sum())
    return time.perf_counter() - started
