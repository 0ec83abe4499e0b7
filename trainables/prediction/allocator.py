"""PyTorch's CUDA caching allocator without a device: what it takes from the driver for a sequence of allocations.

After ``c10/cuda/CUDACachingAllocator.cpp`` with its default settings (no expandable segments, nothing rounded to powers of two),
on one stream. All figures are bytes.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from trainables.memory.arithmetic import MIB

ROUNDING = 512
"""Sizes are multiples of this."""
SMALL_SIZE = MIB
"""Up to this size allocations are small: they have segments of their own."""
SMALL_SEGMENT, LARGE_SEGMENT = 2 * MIB, 20 * MIB
"""Taken from the driver for small allocations, and for large ones below :data:`SIZE_OF_OWN_SEGMENT`."""
SIZE_OF_OWN_SEGMENT = 10 * MIB
"""From this size on an allocation that fits nowhere gets a segment of its own, of whole :data:`SMALL_SEGMENT`."""


@dataclass(eq=False, slots=True)
class Block:
    """A stretch of a segment, between its neighbours in the same segment."""

    address: int
    size: int
    small: bool
    free: bool = False
    previous: Block | None = field(default=None, repr=False)
    next: Block | None = field(default=None, repr=False)


class CachingAllocator:
    """Allocates and frees; ``peak_allocated`` and ``peak_reserved`` are the allocator's own statistics of these names.

    ``requested`` counts what was asked for before any rounding. Segments are never given back.
    """

    def __init__(self) -> None:
        self.requested = self.allocated = self.reserved = 0
        self.peak_requested = self.peak_allocated = 0
        self._free: dict[bool, list[tuple[int, int, Block]]] = {True: [], False: []}
        """By whether small: (size, address, block), the best fit of a size first among those that are not smaller."""

    @property
    def peak_reserved(self) -> int:
        return self.reserved

    def allocate(self, size: int) -> Block | None:
        """A block for ``size`` bytes; None for nothing, which takes no memory."""
        if size == 0:
            return None
        rounded = round_up(size, ROUNDING)
        small = rounded <= SMALL_SIZE
        block = self._best_fit(rounded, small) or self._new_segment(rounded, small)
        self._split(block, rounded)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.requested += size
        self.peak_requested = max(self.peak_requested, self.requested)
        return block

    def free(self, block: Block | None, size: int) -> None:
        """Takes back what :meth:`allocate` gave for ``size`` bytes."""
        if block is None:
            return
        self.allocated -= block.size
        self.requested -= size
        block.free = True
        for other in (block.previous, block.next):
            if other is not None and other.free:
                self._forget(other)
                _merge(block, other)
        self._remember(block)

    def _best_fit(self, size: int, small: bool) -> Block | None:
        free = self._free[small]
        place = bisect.bisect_left(free, size, key=lambda entry: entry[0])
        return free.pop(place)[2] if place < len(free) else None

    def _new_segment(self, size: int, small: bool) -> Block:
        taken = SMALL_SEGMENT if small else LARGE_SEGMENT if size < SIZE_OF_OWN_SEGMENT else round_up(size, SMALL_SEGMENT)
        # Segments never touch, as a neighbour of another segment is never joined to.
        block = Block(self.reserved, taken, small)
        self.reserved += taken
        return block

    def _split(self, block: Block, size: int) -> None:
        """Leaves what is too much as a free block, unless it is so little that it stays with the allocation."""
        rest = block.size - size
        if rest < ROUNDING or (not block.small and rest <= SMALL_SIZE):
            return
        behind = Block(block.address + size, rest, block.small, True, block, block.next)
        if block.next is not None:
            block.next.previous = behind
        block.next, block.size = behind, size
        self._remember(behind)

    def _remember(self, block: Block) -> None:
        bisect.insort(self._free[block.small], (block.size, block.address, block))

    def _forget(self, block: Block) -> None:
        free = self._free[block.small]
        del free[bisect.bisect_left(free, (block.size, block.address), key=lambda entry: entry[:2])]


def _merge(block: Block, other: Block) -> None:
    """``block`` takes the place of both."""
    if other is block.previous:
        block.address, block.previous = other.address, other.previous
        if other.previous is not None:
            other.previous.next = block
    else:
        block.next = other.next
        if other.next is not None:
            other.next.previous = block
    block.size += other.size


def round_up(size: int, multiple: int) -> int:
    """The least multiple of ``multiple`` that is not below ``size``."""
    return -(-size // multiple) * multiple
