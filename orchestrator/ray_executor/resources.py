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
    shared_cpus: float
    """Of a process that makes what runs share, as the next."""
    shared_gpus: float


def allocate(wanted: ResourcesConfiguration, cluster: ClusterResources) -> Allocation:
    """Resolves ``auto``.

    Raises:
        ResourceError: not a single run fits, or not what runs share.
    """
    gpus = float(wanted.gpu) if wanted.gpu != "auto" else min(1.0, cluster.gpus)
    shared_cpus = wanted.cpu if wanted.shared_cpu is None else wanted.shared_cpu
    shared_gpus = gpus if wanted.shared_gpu is None else wanted.shared_gpu
    if isinstance(wanted.concurrency, int):
        return Allocation(wanted.cpu, gpus, wanted.concurrency, shared_cpus, shared_gpus)
    slots = math.floor(cluster.cpus / wanted.cpu + 1e-9)
    if gpus:
        slots = min(slots, math.floor(cluster.gpus / gpus + 1e-9))
    has = f"the cluster has {cluster.cpus:g} and {cluster.gpus:g}"
    if slots < 1:
        raise ResourceError(
            f"a run asks for {wanted.cpu:g} CPU and {gpus:g} GPU; {has}: "
            "lower `resources`, or set `resources.concurrency` for a cluster that grows"
        )
    if shared_cpus > cluster.cpus or shared_gpus > cluster.gpus:
        raise ResourceError(
            f"what runs share asks for {shared_cpus:g} CPU and {shared_gpus:g} GPU; {has}: "
            "lower `resources.shared_cpu` and `resources.shared_gpu`, or leave them out"
        )
    return Allocation(wanted.cpu, gpus, slots, shared_cpus, shared_gpus)
