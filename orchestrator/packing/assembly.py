"""What decides what the runs of a sweep are given: made from the search space and from what was found on the cluster."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.packing.capacity import GpuMemory, capacity_of, unusable
from orchestrator.packing.measurement import Measurement
from orchestrator.packing.packer import Packer
from orchestrator.packing.prediction import WINDOW, Prediction
from orchestrator.packing.reservation import FixedReserver, Reserver
from trainables.training.request import RunRequest

if TYPE_CHECKING:
    from orchestrator.ray_executor.resources import Allocation
    from orchestrator.space.specification import SweepSpecification

UNKNOWN = (
    "how much memory the GPUs have cannot be asked here (no NVML), so that each run gets a whole one: state it in "
    "`resources.gpu_memory_mib` to pack several on each"
)
NONE_USABLE = "no GPU is left that others have not filled: each run gets a whole one, and may run out of memory"


def make_reserver(
    specification: SweepSpecification,
    allocation: Allocation,
    gpus: Sequence[GpuMemory],
    measured: Iterable[tuple[RunRequest, Mapping[str, float]]],
    data_of: Callable[[RunRequest], Path | None],
    warn: Callable[[str], None] = warnings.warn,
) -> Reserver:
    """Runs are packed where ``resources.gpu`` is ``auto``, there are GPUs, and their memory is known or stated.

    Args:
        specification: the sweep.
        allocation: what a run gets that is not packed.
        gpus: what was found on the cluster before any run began; a GPU of which nothing is known is not among them.
        measured: the runs of the record in its order, with the latest value of each of their metrics.
        data_of: the folder of a run's prepared data; None where they are not there.
        warn: is told what a person should know.
    """
    if specification.resources.gpu != "auto" or not allocation.gpus:
        return FixedReserver(allocation.cpus, allocation.gpus)
    for sentence in unusable(gpus):
        warn(sentence)
    capacity = capacity_of(gpus, specification.resources.gpu_memory_mib)
    if capacity is None:
        warn(NONE_USABLE if gpus else UNKNOWN)
        return FixedReserver(allocation.cpus, allocation.gpus)
    packer = Packer(allocation.cpus, capacity, Prediction(data_of), warn)
    for request, metrics in _latest(measured):
        packer.learn(request, metrics)
    return packer


def _latest(measured: Iterable[tuple[RunRequest, Mapping[str, float]]]) -> list[tuple[RunRequest, Mapping[str, float]]]:
    """Of each architecture and task the runs from which is learnt: to predict the others again would take its time."""
    chosen, counted = [], Counter[tuple[str, str]]()
    for request, metrics in reversed([(request, metrics) for request, metrics in measured if Measurement.of(metrics)]):
        pair = (request.architecture, request.task)
        counted[pair] += 1
        if counted[pair] <= WINDOW:
            chosen.append((request, metrics))
    return chosen[::-1]
