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
    """At most: with `gpu: auto` a run is given the share of one that its memory needs, where that is known."""
    concurrency: int
    """With `gpu: auto` and `concurrency: auto` as many as fit with a GPU each; those that need less are more."""
    shared_cpus: float
    """Of a process that makes what runs share, as the next."""
    shared_gpus: float


def allocate(wanted: ResourcesConfiguration, cluster: ClusterResources, *, grows: bool = True) -> Allocation:
    """Resolves ``auto``.

    ``grows`` tells whether ``cluster`` may get more than it has now. Then an explicit ``concurrency`` is taken at its word,
    whatever there is so far, and with ``gpu_memory_mib`` beside it there will be GPUs.

    Raises:
        ResourceError: not a single run fits, or not what runs share.
    """
    is_asked_for = grows and isinstance(wanted.concurrency, int)
    gpus = float(wanted.gpu) if wanted.gpu != "auto" else _gpus(wanted, cluster, is_asked_for)
    shared_cpus = wanted.cpu if wanted.shared_cpu is None else wanted.shared_cpu
    shared_gpus = gpus if wanted.shared_gpu is None else wanted.shared_gpu
    if not is_asked_for:
        _refuse_what_never_fits(wanted, cluster, gpus, (shared_cpus, shared_gpus))
    concurrency = wanted.concurrency if isinstance(wanted.concurrency, int) else _slots(wanted.cpu, gpus, cluster)
    return Allocation(wanted.cpu, gpus, concurrency, shared_cpus, shared_gpus)


def _gpus(wanted: ResourcesConfiguration, cluster: ClusterResources, is_asked_for: bool) -> float:
    if cluster.gpus or not is_asked_for:
        return min(1.0, cluster.gpus)
    return 0.0 if wanted.gpu_memory_mib is None else 1.0


def _slots(cpus: float, gpus: float, cluster: ClusterResources) -> int:
    slots = math.floor(cluster.cpus / cpus + 1e-9)
    return min(slots, math.floor(cluster.gpus / gpus + 1e-9)) if gpus else slots


def _refuse_what_never_fits(
    wanted: ResourcesConfiguration, cluster: ClusterResources, gpus: float, shared: tuple[float, float]
) -> None:
    has = f"the cluster has {cluster.cpus:g} and {cluster.gpus:g}"
    if _slots(wanted.cpu, gpus, cluster) < 1:
        cure = "" if isinstance(wanted.concurrency, int) else ", or set `resources.concurrency` for a cluster that grows"
        raise ResourceError(f"a run asks for {wanted.cpu:g} CPU and {gpus:g} GPU; {has}: lower `resources`{cure}")
    if shared[0] > cluster.cpus or shared[1] > cluster.gpus:
        raise ResourceError(
            f"what runs share asks for {shared[0]:g} CPU and {shared[1]:g} GPU; {has}: "
            "lower `resources.shared_cpu` and `resources.shared_gpu`, or leave them out"
        )
