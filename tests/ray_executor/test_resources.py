"""What runs, and what they share, ask of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.errors import ResourceError
from orchestrator.ray_executor.resources import Allocation, allocate
from orchestrator.space.sections import ResourcesConfiguration
from trainables.configuration import ConfigurationError


def allocated(cluster: ClusterResources, *, grows: bool = True, **wanted: Any) -> Allocation:
    return allocate(ResourcesConfiguration.from_values(wanted), cluster, grows=grows)


def test_what_runs_share_asks_for_what_a_run_asks_for() -> None:
    assert allocated(ClusterResources(8, 2), cpu=2) == Allocation(2, 1, 2, 2, 1)


def test_it_may_ask_for_more_or_less() -> None:
    assert allocated(ClusterResources(8, 2), cpu=2, shared_cpu=8, shared_gpu=0) == Allocation(2, 1, 2, 8, 0)


def test_what_can_never_be_made_is_refused_at_the_start() -> None:
    with pytest.raises(ResourceError, match="what runs share asks for 9 CPU and 0 GPU; the cluster has 8 and 0: lower"):
        allocated(ClusterResources(8, 0), shared_cpu=9)
    with pytest.raises(ResourceError, match="a run asks for 9 CPU"):
        allocated(ClusterResources(8, 0), cpu=9)


def test_a_cluster_that_grows_is_asked_for_whatever_is_wanted() -> None:
    assert allocated(ClusterResources(2, 0), concurrency=40, gpu=1, shared_cpu=16) == Allocation(1, 1, 40, 16, 1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"shared_cpu": 9}, "what runs share asks for 9 CPU and 0 GPU; the cluster has 8 and 0: lower"),
        ({"shared_gpu": 1}, "what runs share asks for 1 CPU and 1 GPU"),
        ({"gpu": 1}, "a run asks for 1 CPU and 1 GPU; the cluster has 8 and 0: lower `resources`$"),
    ],
)
def test_a_cluster_that_does_not_grow_is_asked_for_nothing_that_it_has_not(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        allocated(ClusterResources(8, 0), grows=False, concurrency=4, **wanted)
    assert allocated(ClusterResources(8, 0), grows=True, concurrency=4, **wanted).concurrency == 4


def test_more_runs_at_once_than_fit_may_wait_in_ray() -> None:
    assert allocated(ClusterResources(8, 0), grows=False, concurrency=40).concurrency == 40


def test_stated_memory_promises_gpus_to_a_cluster_that_is_to_get_them() -> None:
    assert allocated(ClusterResources(2, 0), concurrency=12, gpu_memory_mib=22_000).gpus == 1
    assert allocated(ClusterResources(2, 0), concurrency=12).gpus == 0


def test_the_same_search_space_runs_on_a_laptop_without_a_gpu() -> None:
    assert allocated(ClusterResources(2, 0), gpu_memory_mib=22_000).gpus == 0
    assert allocated(ClusterResources(2, 0), grows=False, concurrency=2, gpu_memory_mib=22_000).gpus == 0


@pytest.mark.parametrize("wanted", [{"gpu": 1.5}, {"shared_gpu": 2.5}, {"gpu": -1}, {"gpu_memory_mib": 0}])
def test_shares_of_several_gpus_and_less_than_none_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ResourcesConfiguration.from_values(wanted)
