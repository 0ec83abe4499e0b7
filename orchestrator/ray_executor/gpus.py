"""What runs are given of the cluster's GPUs, and who looks after these while runs come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.packing import FixedReserver, Reserver, make_reserver
from orchestrator.ray_executor.resources import Allocation
from orchestrator.sweep.controller import SweepController
from trainables.configuration import ConfigurationError
from trainables.prepared import data_folder, is_prepared
from trainables.training.request import RunRequest

if TYPE_CHECKING:
    from orchestrator.ray_executor.quarantine import Quarantine


def given_on_gpus(
    controller: SweepController, allocation: Allocation, tell: Callable[[str], None]
) -> tuple[Reserver, Quarantine | None]:
    """To be called before any run begins, whose memory would count as taken by others; None where runs ask for no GPU.

    ``tell`` is told what a person should know of the GPUs.
    """
    if not allocation.gpus:
        return FixedReserver(allocation.cpus, allocation.gpus), None
    from orchestrator.ray_executor.devices import survey
    from orchestrator.ray_executor.quarantine import Quarantine

    found = survey()
    measured = [(controller.request(run), run.metrics) for run in controller.state.runs.values() if run.started and run.metrics]
    reserver = make_reserver(controller.specification, allocation, found, measured, _prepared_data, tell)
    left_alone = [] if isinstance(reserver, FixedReserver) else [gpu for gpu in found if not gpu.is_usable]
    return reserver, Quarantine(found, left_alone)


def _prepared_data(request: RunRequest) -> Path | None:
    """The folder of a run's data on the driver's machine; None where it is not there, or the run cannot be."""
    try:
        resolved = request.resolved()
    except (LookupError, ConfigurationError):
        return None
    there = is_prepared(request.artifacts, resolved.task_type, resolved.task)
    return data_folder(request.artifacts, resolved.task_type, resolved.task) if there else None
