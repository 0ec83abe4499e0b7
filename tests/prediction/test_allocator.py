"""The simulated caching allocator: sequences worked out by hand, and what holds for every sequence."""

import itertools

import hypothesis
from hypothesis import strategies as st

from trainables.prediction.allocator import Block, CachingAllocator

KIB, MIB = 2**10, 2**20


def sizes_of(*sizes: int) -> tuple[CachingAllocator, list[Block]]:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size) for size in sizes]
    assert all(block is not None for block in blocks)
    return allocator, [block for block in blocks if block is not None]


def test_small_allocations_share_a_segment_of_two_mib() -> None:
    allocator, _ = sizes_of(1, 512, 513, 1 * MIB)
    assert allocator.allocated == 512 + 512 + 1024 + MIB
    assert allocator.requested == 1 + 512 + 513 + MIB
    assert allocator.reserved == 2 * MIB


def test_a_small_allocation_that_fits_in_no_segment_takes_another_one() -> None:
    allocator, _ = sizes_of(MIB, MIB, 512)
    assert allocator.reserved == 4 * MIB


def test_large_allocations_below_ten_mib_share_a_segment_of_twenty() -> None:
    allocator, _ = sizes_of(MIB + 512, 9 * MIB, 9 * MIB)
    assert allocator.reserved == 20 * MIB
    # 1 MiB less 512 bytes are left behind the last one: too little to be split off, so it has them.
    assert allocator.allocated == 20 * MIB
    allocator.allocate(2 * MIB)
    assert allocator.reserved == 40 * MIB


def test_an_allocation_of_ten_mib_or_more_has_a_segment_of_whole_two_mib() -> None:
    allocator, _ = sizes_of(10 * MIB)
    assert allocator.reserved == allocator.allocated == 10 * MIB
    allocator, _ = sizes_of(13 * MIB)
    assert (allocator.allocated, allocator.reserved) == (14 * MIB, 14 * MIB)  # a rest of 1 MiB is not split off
    allocator, _ = sizes_of(12 * MIB + 512)
    assert (allocator.allocated, allocator.reserved) == (12 * MIB + 512, 14 * MIB)


def test_small_and_large_allocations_never_share_a_segment() -> None:
    allocator, _ = sizes_of(2 * MIB, 512)
    assert allocator.reserved == 22 * MIB


def test_the_smallest_free_block_that_fits_is_taken() -> None:
    allocator, (first, _, second, _) = sizes_of(4 * MIB, 4 * MIB, 2 * MIB, 10 * MIB - 512)
    allocator.free(first, 4 * MIB)
    allocator.free(second, 2 * MIB)
    taken = allocator.allocate(2 * MIB)
    assert taken is not None and taken.address == second.address
    assert allocator.reserved == 20 * MIB


def test_free_neighbours_become_one_block() -> None:
    allocator, blocks = sizes_of(6 * MIB, 6 * MIB, 6 * MIB)
    for block in (blocks[0], blocks[2], blocks[1]):
        allocator.free(block, 6 * MIB)
    assert allocator.allocated == 0
    allocator.allocate(19 * MIB)
    assert allocator.reserved == 20 * MIB and allocator.allocated == 20 * MIB


def test_blocks_of_different_segments_are_not_joined() -> None:
    allocator, blocks = sizes_of(20 * MIB, 20 * MIB)
    for block in blocks:
        allocator.free(block, 20 * MIB)
    allocator.allocate(40 * MIB)
    assert allocator.reserved == 80 * MIB


def test_nothing_takes_no_memory() -> None:
    allocator = CachingAllocator()
    assert allocator.allocate(0) is None
    allocator.free(None, 0)
    assert allocator.reserved == allocator.peak_allocated == 0


SIZES = st.one_of(st.integers(1, 4 * KIB), st.integers(4 * KIB, 2 * MIB), st.integers(MIB, 30 * MIB))


@hypothesis.given(st.lists(st.tuples(SIZES, st.integers(0, 5)), max_size=60))
def test_whatever_is_allocated_and_freed_blocks_never_overlap(steps: list[tuple[int, int]]) -> None:
    """Each step allocates, then perhaps frees one of what is held."""
    allocator, held = CachingAllocator(), dict[int, tuple[Block, int]]()
    for number, (size, choice) in enumerate(steps):
        block = allocator.allocate(size)
        assert block is not None and block.size >= size
        held[number] = block, size
        if choice and len(held) >= choice:
            allocator.free(*held.pop(sorted(held)[choice - 1]))
        ends = sorted((block.address, block.address + block.size) for block, _ in held.values())
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
        assert sum(size for _, size in held.values()) == allocator.requested <= allocator.allocated <= allocator.reserved
        assert allocator.allocated == sum(block.size for block, _ in held.values())
    reserved = allocator.reserved
    for block, size in held.values():
        allocator.free(block, size)
    assert (allocator.allocated, allocator.requested, allocator.reserved) == (0, 0, reserved)
    for size, _ in sorted(steps, reverse=True)[:1]:  # all that is free can be had again
        allocator.allocate(size)
        assert allocator.reserved == reserved
