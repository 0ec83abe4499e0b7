"""What running a sweep would mean, estimated without starting Ray: trials, width, memory, time and checkpoints."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.check import EntryCheck
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.resources import Allocation, allocate
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import find_feasible, value_at
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.stages import shared_stages
from trainables.configuration import Configuration, ConfigurationError
from trainables.counts import ParameterCounts
from trainables.memory import estimated_mib
from trainables.training.configuration import TrainingConfiguration

CONFIRM_SLOT_HOURS = 24.0
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


@dataclass(frozen=True)
class Plan:
    """The whole sweep. ``runs`` is None where the number of trials is not known before they are suggested."""

    studies: int
    runs: int | None
    allocation: Allocation
    entries: dict[str, EntryPlan]
    keep: str
    """Which checkpoint of a run is kept when it has ended."""
    shared: tuple[str, ...] = ()
    """The titles of what is made once before the runs, in order; what is there already is not told apart."""

    @property
    def slot_hours(self) -> float | None:
        seconds = [entry.run_seconds for entry in self.entries.values()]
        known = [value for value in seconds if value is not None]
        return None if self.runs is None or len(known) < len(seconds) else self.runs * float(np.mean(known)) / 3600

    @property
    def checkpoint_bytes(self) -> int | None:
        """At most so many on the disk at once: a run in flight always has one, and may keep its best beside it; None where
        they grow with runs whose number is not known."""
        in_flight = 0 if self.keep == "last" else self.allocation.concurrency
        ended = 0 if self.keep == "none" else self.runs
        return None if ended is None else (ended + in_flight) * self.largest_checkpoint

    @property
    def largest_checkpoint(self) -> int:
        """Bytes of one checkpoint."""
        return max((entry.checkpoint_bytes for entry in self.entries.values()), default=0)


def make_plan(specification: SweepSpecification) -> Plan:
    """Plans for this machine.

    Raises:
        ResourceError: not a single run fits.
    """
    here = ClusterResources(float(os.cpu_count() or 1), float(torch.cuda.device_count()))
    speed = _matrix_product_flops()
    entries = {entry.name: _plan_entry(entry.cells, speed) for entry in specification.entries}
    studies = len(specification.spaces) if specification.search.per == "entry" else 1
    allocation = allocate(specification.resources, here)
    shared = tuple(one.stage.title for one in shared_stages(specification))
    return Plan(studies, _runs(specification), allocation, entries, specification.checkpoints.keep, shared)


def _runs(specification: SweepSpecification) -> int | None:
    search = specification.search
    if search.per == "sweep":
        return (specification.trials_per_study or 0) * search.replicates
    if search.sampler != "grid":
        return (specification.trials_per_study or 0) * len(specification.spaces) * search.replicates
    total = 0
    for space in specification.spaces:
        found = find_feasible(space, over_all=True)
        if not found.exact:
            return None
        wanted = specification.trials_per_study
        total += min(len(found), wanted) if wanted else len(found)
    return total * search.replicates


def _plan_entry(cells: tuple[StudySpace, ...], speed: float) -> EntryPlan:
    memory, seconds, size = [], [], 0
    for cell in cells:
        found = find_feasible(cell)
        for index in {round(i) for i in np.linspace(0, len(found) - 1, _SAMPLES)}:
            model, task, training = _typed(cell, found.row(index))
            counts = cell.architecture.count(model, task)
            memory.append(_predicted(cell, model, task, training, counts))
            seconds.append(_seconds(cell, task, training, counts, speed))
            size = max(size, cell.task_type.trains * int(counts.trainable) * _BYTES * _STATE_COPIES)
    known = [value for value in seconds if value is not None]
    rough = float(np.mean(known)) if len(known) == len(seconds) else None
    return EntryPlan((min(memory), max(memory)), rough, size)


def _typed(space: StudySpace, structure: Mapping[str, Any]) -> tuple[Configuration, Configuration, TrainingConfiguration]:
    """Typed configurations of a structure, with everything else that is searched in the middle of its range."""
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    middle = {name: value_at(dimension, dimension.lattice_size // 2) for name, dimension in dimensions.items()}
    configuration = space.resolve({**middle, **structure})
    return (
        space.architecture.configuration.from_values(configuration.model),
        space.task_type.configuration_type.from_values(configuration.task),
        TrainingConfiguration.from_values(configuration.training),
    )


def _predicted(space: StudySpace, model: Any, task: Any, training: TrainingConfiguration, counts: ParameterCounts) -> float:
    told = space.task_type.predicted_mib(space.architecture, model, task)
    if told is not None:
        return told
    activations = space.architecture.activation_elements(model, task) * space.task_type.windows_per_example(task)
    return float(estimated_mib(counts, activations, training.batch_size, training=training.epochs > 0))


def _seconds(
    space: StudySpace, task: Any, training: TrainingConfiguration, counts: ParameterCounts, speed: float
) -> float | None:
    try:
        tokens = space.task_type.epoch_tokens(task)
    except ConfigurationError:  # of a combination that cannot run; `check` looks at one field at a time
        return None
    if tokens is None:
        return None
    worked = int(counts.total) - int(counts.embedding)
    return _FLOPS_PER_PARAMETER_AND_TOKEN * worked * tokens * max(1, training.epochs) / (speed * _EFFICIENCY)


def _matrix_product_flops(size: int = 384, repeats: int = 4) -> float:
    """Floating-point operations per second of a matrix product on one slot of this machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.randn(size, size, device=device)
        float((matrix @ matrix).sum())
        started = time.perf_counter()
        for _ in range(repeats):
            matrix = (matrix @ matrix) / size
        float(matrix.sum())
        return 2 * size**3 * repeats / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)


def render_plan(specification: SweepSpecification, checks: Mapping[str, EntryCheck], plan: Plan) -> str:
    """The plan as text."""
    allocation = plan.allocation
    runs = "not known before they are suggested" if plan.runs is None else f"{plan.runs:,}"
    lines = [
        f"{specification.name}: {plan.studies} studies, {runs} runs ({specification.search.replicates} per trial)",
        f"each run: {allocation.cpus:g} CPU, {allocation.gpus:g} GPU; at once: {allocation.concurrency} "
        f"(demand: {allocation.concurrency * allocation.cpus:g} CPU, {allocation.concurrency * allocation.gpus:g} GPU)",
    ]
    for name, entry in plan.entries.items():
        check = checks[name]
        low, high = entry.predicted_mib
        about = "" if check.exact else "about "
        took = "" if entry.run_seconds is None else f", roughly {_duration(entry.run_seconds)} a run"
        lines.append(
            f"  {name}: {about}{check.feasible:,} of {check.structures:,} structures feasible, "
            f"predicted {low:.0f} to {high:.0f} MiB{took}"
        )
    if plan.shared:
        counted = Counter(plan.shared)
        told = [title if count == 1 else f"{title} ({count} times)" for title, count in counted.items()]
        lines.append(f"made once, before the runs: {', '.join(told)}")
    if plan.slot_hours is not None:
        lines.append(f"time: roughly {_duration(plan.slot_hours * 3600)} of one slot at the most, without early stopping")
    lines.append(f"checkpoints: {_checkpoints(plan)} (keep: {plan.keep})")
    return "\n".join(lines)


def reason_to_ask(plan: Plan, storage: Path) -> str | None:
    """Why a person should be asked before running: very long, or more checkpoints than the disk has room."""
    if plan.slot_hours is not None and plan.slot_hours > CONFIRM_SLOT_HOURS:
        return f"this is roughly {plan.slot_hours:.0f} slot-hours"
    existing = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if plan.checkpoint_bytes is not None and plan.checkpoint_bytes > free:
        return f"checkpoints may take {plan.checkpoint_bytes / 2**30:.1f} GiB, the disk has {free / 2**30:.1f} GiB left"
    return None


def _checkpoints(plan: Plan) -> str:
    if plan.checkpoint_bytes is None:
        return f"{plan.largest_checkpoint / 2**20:,.1f} MiB a run"
    return f"at most {math.ceil(plan.checkpoint_bytes / 2**20):,} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
