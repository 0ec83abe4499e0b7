"""What runs, and what they share, ask of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.errors import ResourceError
from orchestrator.ray_executor.resources import Allocation, allocate
from orchestrator.space.sections import ResourcesConfiguration


def allocated(cluster: ClusterResources, **wanted: Any) -> Allocation:
    return allocate(ResourcesConfiguration.from_values(wanted), cluster)


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
