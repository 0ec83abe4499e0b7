"""Ray runs on hosts of namespaces, and notices within seconds that one is gone."""

from __future__ import annotations

import time

import pytest
from hosts import Hosts
from ray_hosts import RayHosts

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces")]


def test_a_cluster_of_two_hosts_loses_the_one_that_is_cut_off() -> None:
    with Hosts(2) as hosts, RayHosts(hosts[0]) as cluster:
        cluster.start_head(cpus=1)
        cluster.start_worker(hosts[1], cpus=3, gpus=2)
        nodes = cluster.nodes(2)
        assert nodes[hosts[1].ip]["CPU"] == 3 and nodes[hosts[1].ip]["GPU"] == 2
        hosts[1].cut()
        begun = time.monotonic()
        assert list(cluster.nodes(1)) == [hosts[0].ip]
        print(f"the cut-off node was given up within {time.monotonic() - begun:.1f} s, the start of a driver included")
        assert hosts[1].pids("raylet"), "the cut-off node lives on"
