"""What each run asks of the cluster, and how many run at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.errors import ResourceError
from orchestrator.space.sections import ResourcesConfiguration


@dataclass(frozen=True)
class Allocation:
    """Resources of one run, and the number of runs at once."""

    cpus: float
    gpus: float
    concurrency: int


def allocate(wanted: ResourcesConfiguration, cluster: ClusterResources) -> Allocation:
    """Resolves ``auto``.

    Raises:
        ResourceError: not a single run fits.
    """
    gpus = float(wanted.gpu) if wanted.gpu != "auto" else min(1.0, cluster.gpus)
    if isinstance(wanted.concurrency, int):
        return Allocation(wanted.cpu, gpus, wanted.concurrency)
    slots = math.floor(cluster.cpus / wanted.cpu + 1e-9)
    if gpus:
        slots = min(slots, math.floor(cluster.gpus / gpus + 1e-9))
    if slots < 1:
        raise ResourceError(
            f"a run asks for {wanted.cpu:g} CPU and {gpus:g} GPU; the cluster has {cluster.cpus:g} and {cluster.gpus:g}: "
            "lower `resources`, or set `resources.concurrency` for a cluster that grows"
        )
    return Allocation(wanted.cpu, gpus, slots)
