"""In which pieces a sequence is read, and after which of them the memory is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """One forward: it reads the tokens from ``start`` to ``end``, of which those from ``first`` on are new."""

    start: int
    first: int
    end: int
    updates: bool
    """Whether the memory is written at its end."""

    @property
    def context(self) -> int:
        """Tokens of the window that earlier forwards have covered."""
        return self.first - self.start


def chunk_schedule(length: int, input_block: int, memory_block: int) -> list[Chunk]:
    """The forwards over ``length`` tokens: the first covers ``input_block`` of them, each later one ``memory_block``.

    A window reaches back over ``input_block + memory_block`` tokens, where there are so many. Tokens that are too few for a
    forward of their own are read at the end, without a write.
    """
    ends = list(range(input_block, length + 1, memory_block))
    covered = ends[-1] if ends else 0
    chunks = [
        Chunk(max(end - input_block - memory_block, 0), first, end, updates=True)
        for first, end in zip([0, *ends], ends, strict=False)
    ]
    if covered < length:
        chunks.append(Chunk(max(length - input_block - memory_block, 0), covered, length, updates=False))
    return chunks


def update_count(length: Any, input_block: Any, memory_block: Any) -> Any:
    """How often the memory is written over ``length`` tokens; arguments may be NumPy arrays."""
    return (length >= input_block) * (1 + (length - input_block) // memory_block)
