"""Weights by the distance of the nearest neighbour: the fits against loops, and their laws."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.retrieval.heads.distance_fit import (
    WEIGHTS,
    FitPoints,
    bucket_edges,
    bucket_of,
    exponential_weights,
    fit_buckets,
    fit_exponential,
    fit_fixed,
)
from trainables.retrieval.heads.distance_weight import (
    BucketWeights,
    DistanceWeight,
    ExponentialWeight,
    FixedWeight,
    distance_weight_buffers,
    make_distance_weight,
)
from trainables.retrieval.heads.observed_weight import ObservedWeight
from trainables.retrieval.mixing import interpolate


def points_of(seed: int, count: int = 300, *, distinct: int = 1000) -> FitPoints:
    """Positions whose neighbours are the better the nearer they are; distances from ``distinct`` values."""
    random = np.random.default_rng(seed)
    distance = random.integers(0, distinct, count) / distinct * 10
    p_knn = np.where(random.random(count) < np.exp(-distance / 4), random.uniform(0.3, 1, count), 0.0)
    return FitPoints.of(*map(torch.from_numpy, (np.log(random.uniform(0.001, 1, count)), p_knn, distance)))


def loss_by_loop(points: FitPoints, members: list[int], weight: float) -> float:
    total = 0.0
    for position in members:
        base, knn = math.exp(points.log_base[position]), float(points.p_knn[position])
        total -= math.log((1 - weight) * base + weight * knn)
    return total


def best_by_loop(points: FitPoints, members: list[int]) -> float:
    losses = [loss_by_loop(points, members, weight) for weight in WEIGHTS]
    return WEIGHTS[losses.index(min(losses))]


seeds = st.integers(0, 10_000)


def test_the_grid_goes_from_0_to_99_hundredths() -> None:
    assert len(WEIGHTS) == 100 and WEIGHTS[0] == 0.0 and WEIGHTS[25] == 0.25 and WEIGHTS[-1] == 0.99


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_the_fixed_weight_is_the_best_of_the_grid(seed: int) -> None:
    points = points_of(seed, 60)
    assert fit_fixed(points) == best_by_loop(points, list(range(60)))


@settings(max_examples=6, deadline=None)
@given(seed=seeds, buckets=st.integers(1, 6), min_count=st.sampled_from([0, 20]))
def test_bucket_weights_equal_a_loop_over_the_buckets(seed: int, buckets: int, min_count: int) -> None:
    points = points_of(seed, 80)
    fitted = BucketWeights(buckets, min_count)
    fitted.fit(points)
    distance = points.distance.float().numpy()
    edges = np.quantile(points.distance.numpy(), np.arange(buckets + 1) / buckets).astype(np.float32)
    for bucket in range(buckets):
        below = distance <= edges[-1] if bucket == buckets - 1 else distance < edges[bucket + 1]
        members = np.flatnonzero((distance >= edges[bucket]) & below).tolist()
        few = len(members) < max(1, min_count)
        expected = best_by_loop(points, list(range(80)) if few else members)
        assert fitted.bucket_weight[bucket].item() == np.float32(expected)
        for position in members:
            assert fitted(points.distance[position]).item() == np.float32(expected)


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_one_bucket_is_the_fixed_weight(seed: int) -> None:
    points, one, fixed = points_of(seed), BucketWeights(1, 50), FixedWeight()
    told, expected = one.fit(points), fixed.fit(points)
    assert told == expected
    anywhere = torch.tensor([0.0, 3.0, 1e9])
    assert torch.equal(one(anywhere), fixed(anywhere)) and fixed(anywhere).tolist() == [fixed.weight.item()] * 3


@settings(max_examples=10, deadline=None)
@given(seed=seeds, distinct=st.sampled_from([3, 20, 1000]))
def test_twice_the_buckets_are_never_worse_where_they_are_fitted(seed: int, distinct: int) -> None:
    points, losses = points_of(seed, distinct=distinct), []
    for doublings in range(7):
        fitted = BucketWeights(2**doublings, 0)
        fitted.fit(points)
        losses.append(points.loss(fitted.cpu_weights(points.distance)))
    assert all(after <= before + 1e-7 for before, after in pairwise(losses)), losses
    assert losses[-1] < losses[0] or distinct == 3


@given(seed=seeds, doublings=st.integers(0, 6))
@settings(max_examples=20, deadline=None)
def test_edges_stay_where_the_number_of_buckets_doubles(seed: int, doublings: int) -> None:
    distance = points_of(seed).distance
    coarse, fine = (bucket_edges(distance, 2 ** (doublings + more)) for more in (0, 1))
    assert len(coarse) == 2**doublings - 1 and set(coarse.tolist()) <= set(fine.tolist())


def test_buckets_are_equally_full_and_hold_everything() -> None:
    distance = torch.randperm(640, generator=torch.Generator().manual_seed(0)).double()
    edges = bucket_edges(distance, 64)
    assert torch.bincount(bucket_of(distance, edges), minlength=64).tolist() == [10] * 64
    assert bucket_of(torch.tensor([-1.0, 639.0, 1e30, math.inf]), edges).tolist() == [0, 63, 63, 63]


def test_a_bucket_with_few_positions_takes_the_weight_of_all() -> None:
    near, far = torch.zeros(99), torch.ones(1)
    useful = torch.cat([torch.full((99,), 0.9), far * 0])
    points = FitPoints.of(torch.full((100,), math.log(0.1)), useful, torch.cat([near, far]))
    edges = torch.tensor([0.5])
    assert fit_fixed(points) > 0.5
    assert fit_buckets(points, edges, min_count=1).tolist() == [0.99, 0.0]
    assert fit_buckets(points, edges, min_count=2).tolist() == [0.99, fit_fixed(points)]


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_an_exponential_is_never_worse_than_a_fixed_weight_nor_than_any_of_a_dense_grid(seed: int) -> None:
    points = points_of(seed, 150)
    largest, rate = fit_exponential(points)
    found = points.loss(exponential_weights(points.distance, largest, rate))
    assert 0 <= largest <= 0.99 and rate >= 0
    assert found <= points.loss(fit_fixed(points))
    dense = product(np.linspace(0, 0.99, 34), np.geomspace(0.01, 10, 40))
    assert found <= min(points.loss(exponential_weights(points.distance, *tried)) for tried in dense) + 1e-3


def test_an_exponential_finds_the_law_that_made_the_text() -> None:
    random = np.random.default_rng(0)
    distance = random.exponential(5, 40_000)
    from_store = random.random(40_000) < 0.8 * np.exp(-distance / 5)
    # With a draw from the store the base gives a hundredth, with one from the base the store gives nothing.
    p_base, p_knn = np.where(from_store, 0.0, 0.05), np.where(from_store, 0.05, 0.0)
    points = FitPoints.of(torch.from_numpy(np.log(p_base + 1e-12)), torch.from_numpy(p_knn), torch.from_numpy(distance))
    largest, rate = fit_exponential(points)
    assert largest == pytest.approx(0.8, abs=0.02) and 1 / rate == pytest.approx(5, rel=0.05)


def test_fits_are_repeatable() -> None:
    assert fit_exponential(points_of(3)) == fit_exponential(points_of(3))


@pytest.mark.parametrize("mode", ["buckets", "exponential", "fixed"])
def test_useless_neighbours_get_nothing_and_leave_the_base_as_it_is(mode: str) -> None:
    points = points_of(0)
    useless = FitPoints.of(points.log_base, torch.zeros(300), points.distance)
    weight = make_distance_weight(mode, 8, 10)  # type: ignore[arg-type]
    told = weight.fit(useless)
    assert told == {
        "adaptive/weight_fixed": 0,
        "adaptive/weight_smallest": 0,
        "adaptive/weight_largest": 0,
        "adaptive/fit_gain": 0,
    }
    log_base = points.log_base.float()
    assert torch.equal(interpolate(log_base, points.p_knn.float(), weight(points.distance)), log_base)


@pytest.mark.parametrize("mode", ["buckets", "exponential", "fixed"])
def test_an_unfitted_weight_is_zero_and_its_buffers_are_counted(mode: str) -> None:
    weight: DistanceWeight = make_distance_weight(mode, 8, 10)  # type: ignore[arg-type]
    assert weight(torch.rand(2, 3)).tolist() == [[0.0] * 3] * 2
    assert sum(buffer.numel() for buffer in weight.buffers()) == distance_weight_buffers(mode, 8)  # type: ignore[arg-type]
    assert not list(weight.parameters())


def test_near_neighbours_get_more_where_they_deserve_it() -> None:
    points, buckets, exponential = points_of(1, 2000), BucketWeights(8, 50), ExponentialWeight()
    for weight in (buckets, exponential):
        told = weight.fit(points)
        assert told["adaptive/fit_gain"] > 0.01
        assert weight(torch.tensor(0.0)) > told["adaptive/weight_fixed"] > weight(torch.tensor(10.0))


def test_observation_is_of_what_passes_between_its_beginning_and_its_end() -> None:
    observed, first, second = ObservedWeight(), torch.tensor([0.1, 0.3]), torch.tensor([0.5, 0.7, 0.9])
    observed(second)
    observed.begin_observation()
    assert torch.equal(observed(first), first)
    observed(second)
    noted = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    assert observed.end_observation() == {
        "knn/weight_mean": pytest.approx(noted.mean()),
        "knn/weight_std": pytest.approx(noted.std()),
    }
    observed(second)
    observed.begin_observation()
    assert observed.end_observation() == {}
