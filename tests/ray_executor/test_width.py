"""How many runs are in flight at once, on a cluster that grows and shrinks, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.packing import Reservation
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.width import SECONDS_BETWEEN_LOOKS, Width

CPU = Reservation(1.0, 0.0)
QUARTER = Reservation(1.0, 0.25)


class Cluster:
    """Resources and a clock in the hands of the test; a look costs nothing, and is counted."""

    def __init__(self, cpus: float, gpus: float = 0.0) -> None:
        self.cpus, self.gpus, self.now, self.looks = cpus, gpus, 0.0, 0

    def resources(self) -> ClusterResources:
        self.looks += 1
        return ClusterResources(self.cpus, self.gpus)

    def width(self, concurrency: int | Literal["auto"] = "auto") -> Width:
        return Width(concurrency, self.resources, lambda: self.now)

    def becomes(self, cpus: float, gpus: float = 0.0) -> None:
        self.cpus, self.gpus = cpus, gpus
        self.now += SECONDS_BETWEEN_LOOKS


def filled(width: Width, wanted: Reservation, in_flight: list[Reservation], most: int = 100) -> list[Reservation]:
    """What is in flight when as many more were started as there is room for."""
    while len(in_flight) < most and width.is_open(in_flight) and width.fits(in_flight, wanted):
        in_flight.append(wanted)
    return in_flight


def test_auto_follows_a_cluster_that_grows_and_shrinks() -> None:
    cluster = Cluster(2)
    width = cluster.width()
    running = filled(width, CPU, [])
    assert len(running) == 2
    cluster.becomes(5)
    assert len(filled(width, CPU, running)) == 5
    cluster.becomes(3)
    assert len(filled(width, CPU, running)) == 5, "what runs is left alone"
    assert len(filled(width, CPU, running[:2])) == 3, "what ends is not replaced until there is room"


def test_a_number_is_kept_whatever_the_cluster_has() -> None:
    for cpus in (0, 2, 100):
        cluster = Cluster(cpus)
        assert len(filled(cluster.width(4), CPU, [])) == 4
        assert cluster.looks == 0


def test_a_cluster_that_has_nothing_is_asked_for_one_run() -> None:
    assert len(filled(Cluster(0).width(), CPU, [])) == 1
    assert len(filled(Cluster(0).width(), QUARTER, [])) == 1


def test_shares_of_gpus_count_and_so_do_cpus() -> None:
    assert len(filled(Cluster(100, 2).width(), QUARTER, [])) == 8
    assert len(filled(Cluster(3, 2).width(), QUARTER, [])) == 3


def test_a_new_run_is_suggested_only_where_a_small_one_would_fit() -> None:
    width = Cluster(8, 1).width()
    assert width.is_open([Reservation(1.0, 0.5)]) and not width.fits([Reservation(1.0, 0.5)], Reservation(1.0, 1.0))
    assert not width.is_open([Reservation(1.0, 1.0)])


def test_the_cluster_is_not_asked_more_often_than_it_changes() -> None:
    cluster = Cluster(50)
    width = cluster.width()
    filled(width, CPU, [])
    assert cluster.looks == 1
    cluster.becomes(50)
    filled(width, CPU, [CPU])
    assert cluster.looks == 2


Shares = st.sampled_from([1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8, 1 / 12, 1 / 16])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 4), st.integers(0, 24), st.lists(Shares, max_size=60))
def test_whatever_runs_ask_for_they_never_ask_for_more_than_there_is(gpus: int, cpus: int, shares: list[float]) -> None:
    width, running = Cluster(cpus, gpus).width(), list[Reservation]()
    for share in shares:
        wanted = Reservation(1.0, share)
        if width.is_open(running) and width.fits(running, wanted):
            running.append(wanted)
    if len(running) > 1:
        assert sum(reservation.cpus for reservation in running) <= cpus
        assert sum(reservation.gpus for reservation in running) <= gpus + 1e-6
    assert running or not shares, "one run is always in flight"


@pytest.mark.parametrize("resources", [lambda: ClusterResources(0.0, 0.0), lambda: ClusterResources(1.0, 0.0)])
def test_thirds_of_a_gpu_are_not_lost_to_rounding(resources: Callable[[], ClusterResources]) -> None:
    third = Reservation(0.0, 1 / 3)
    width = Width("auto", lambda: ClusterResources(resources().cpus, 1.0))
    assert width.fits([third, third], third) and not width.fits([third] * 3, third)
