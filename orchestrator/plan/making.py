"""The plan of a whole sweep."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from orchestrator.packing.capacity import Capacity, GpuMemory, capacity_of, gpus_of_this_machine, unusable
from orchestrator.packing.demand import Demand, demand_of, in_turn
from orchestrator.plan.entries import EntryPlan, Sizing, matrix_product_flops, plan_entry
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.resources import Allocation, allocate
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import find_feasible
from orchestrator.sweep.stages import shared_stages
from trainables.prepared import prepare_data
from trainables.training.request import ResolvedRun


@dataclass(frozen=True)
class Packing:
    """What is known of the GPUs, and what the runs ask of them."""

    capacity: Capacity
    demand: Demand


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
    packing: Packing | None = None
    """Where runs are packed on GPUs."""
    left_alone: tuple[str, ...] = ()
    """Sentences on GPUs that others have filled."""

    @property
    def at_once(self) -> int:
        """Runs in flight."""
        return self.allocation.concurrency if self.packing is None else self.packing.demand.at_once

    @property
    def slot_hours(self) -> float | None:
        seconds = [entry.run_seconds for entry in self.entries.values()]
        known = [value for value in seconds if value is not None]
        return None if self.runs is None or len(known) < len(seconds) else self.runs * float(np.mean(known)) / 3600

    @property
    def checkpoint_bytes(self) -> int | None:
        """At most so many on the disk at once: a run in flight always has one, and may keep its best beside it; None where
        they grow with runs whose number is not known."""
        in_flight = 0 if self.keep == "last" else self.at_once
        ended = 0 if self.keep == "none" else self.runs
        return None if ended is None else (ended + in_flight) * self.largest_checkpoint

    @property
    def largest_checkpoint(self) -> int:
        """Bytes of one checkpoint."""
        return max((entry.checkpoint_bytes for entry in self.entries.values()), default=0)


def make_plan(specification: SweepSpecification, gpus: Sequence[GpuMemory] | None = None) -> Plan:
    """Plans for this machine, and for the cluster that the search space speaks of.

    Args:
        specification: the sweep.
        gpus: those of this machine; None asks the driver.

    Raises:
        ResourceError: not a single run fits.
    """
    found = gpus_of_this_machine(socket.gethostname()) if gpus is None else gpus
    here = ClusterResources(float(os.cpu_count() or 1), float(max(torch.cuda.device_count(), len(found))))
    speed = matrix_product_flops()
    allocation = allocate(specification.resources, here)
    is_packed = specification.resources.gpu == "auto" and bool(allocation.gpus)
    capacity = capacity_of(found, specification.resources.gpu_memory_mib) if is_packed else None
    with _data_for_a_while(specification) as data_of:
        sizing = None if capacity is None else Sizing(capacity.capacity_mib, data_of)
        entries = {entry.name: plan_entry(entry.cells, speed, sizing) for entry in specification.entries}
    studies = len(specification.spaces) if specification.search.per == "entry" else 1
    runs = _runs(specification)
    usable = sum(gpu.is_usable for gpu in found) or int(here.gpus)
    return Plan(
        studies,
        runs,
        allocation,
        entries,
        specification.checkpoints.keep,
        shared=tuple(one.stage.title for one in shared_stages(specification)),
        packing=None if capacity is None else Packing(capacity, _demand(specification, entries, runs, here.cpus, usable)),
        left_alone=tuple(unusable(found)) if is_packed else (),
    )


@contextlib.contextmanager
def _data_for_a_while(specification: SweepSpecification) -> Iterator[Callable[[ResolvedRun], Path | None]]:
    """The data of configurations, made when they are asked for: without them their memory would be known by arithmetic alone."""
    with tempfile.TemporaryDirectory(prefix="memsweep-plan-") as folder:

        def data_of(resolved: ResolvedRun) -> Path | None:
            try:
                return prepare_data(Path(folder), resolved.task_type, resolved.task, paths=specification.files)
            except Exception:  # such as a combination that cannot be made; a run would say why
                return None

        yield data_of


def _demand(
    specification: SweepSpecification, entries: Mapping[str, EntryPlan], runs: int | None, cpus: float, gpus: int
) -> Demand:
    """With an explicit concurrency whatever it takes, else what there is room for here."""
    concurrency, sizes = specification.resources.concurrency, in_turn([entry.sizes for entry in entries.values()])
    if isinstance(concurrency, int):
        return demand_of(sizes, concurrency if runs is None else min(runs, concurrency))
    slots = math.floor(cpus / specification.resources.cpu + 1e-9)
    return demand_of(sizes, slots if runs is None else min(runs, slots), gpus)


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
