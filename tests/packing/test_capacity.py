"""Which GPUs are used, and how much of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.packing.capacity import GpuMemory, capacity_of, unusable


def gpu(uuid: str, total: float, free: float) -> GpuMemory:
    return GpuMemory("node-1", uuid, "NVIDIA L4", total, free)


LARGE, SMALL, FILLED = gpu("GPU-a", 80_000, 79_000), gpu("GPU-b", 24_000, 23_000), gpu("GPU-c", 24_000, 9_000)


def test_the_smallest_usable_gpu_decides_less_a_margin() -> None:
    found = capacity_of([LARGE, SMALL])
    assert found is not None and "GPU-b" in found.of
    assert found.capacity_mib == 23_000 - 0.05 * 24_000
    assert found.whole_mib == 23_000


def test_a_small_gpu_keeps_room_for_one_more_context() -> None:
    found = capacity_of([gpu("GPU-s", 4_000, 3_900)])
    assert found is not None and found.capacity_mib == 3_900 - 512


def test_a_gpu_that_others_have_filled_does_not_count_and_is_named() -> None:
    found = capacity_of([LARGE, FILLED])
    assert found is not None and "GPU-a" in found.of
    (sentence,) = unusable([LARGE, FILLED])
    assert "GPU GPU-c (NVIDIA L4) on node node-1 is left alone: other programs hold 15,000 of its 24,000 MiB" in sentence


def test_a_gpu_that_is_all_margin_is_left_alone_for_that_reason() -> None:
    (sentence,) = unusable([gpu("GPU-t", 500, 500)])
    assert "no more than the margin" in sentence


def test_what_is_stated_is_taken_where_nothing_can_be_asked() -> None:
    found = capacity_of([], 20_000)
    assert found is not None and (found.capacity_mib, found.whole_mib) == (20_000, 20_000)
    assert "gpu_memory_mib" in found.of
    assert capacity_of([]) is None
    assert capacity_of([FILLED]) is None


@pytest.mark.parametrize("stated", [10_000.0, 1e6])
def test_the_smaller_of_stated_and_found_counts(stated: float) -> None:
    found = capacity_of([SMALL], stated)
    assert found is not None and found.capacity_mib == min(stated, SMALL.capacity_mib)


@given(st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 1)), max_size=8), st.none() | st.floats(1, 1e5))
def test_no_usable_gpu_has_less_than_the_capacity(memories: list[tuple[float, float]], stated: float | None) -> None:
    gpus = [gpu(f"GPU-{index}", total, total * share) for index, (total, share) in enumerate(memories)]
    found = capacity_of(gpus, stated)
    usable = [one for one in gpus if one.is_usable]
    assert (found is None) == (not usable and stated is None)
    if found is not None:
        assert 0 < found.capacity_mib <= found.whole_mib
        assert all(found.capacity_mib < one.free_mib for one in usable)
    assert len(unusable(gpus)) == len(gpus) - len(usable)
