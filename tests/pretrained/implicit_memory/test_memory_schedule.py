"""The pieces in which a sequence is read, and what a token of a window sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.pretrained.implicit_memory.masks import window_mask
from trainables.pretrained.implicit_memory.schedule import Chunk, chunk_schedule, update_count


def token_by_token(length: int, input_block: int, memory_block: int) -> list[Chunk]:
    """The schedule of who waits for tokens one by one."""
    chunks: list[Chunk] = []
    waiting, needed, covered = 0, input_block, 0
    for token in range(length):
        waiting += 1
        if waiting == needed or token == length - 1:
            end = token + 1
            chunks.append(Chunk(max(end - input_block - memory_block, 0), covered, end, updates=waiting == needed))
            waiting, needed, covered = 0, memory_block, end
    return chunks


@given(length=st.integers(1, 200), input_block=st.integers(1, 40), data=st.data())
def test_the_schedule_is_that_of_tokens_that_come_one_by_one(length: int, input_block: int, data: st.DataObject) -> None:
    memory_block = data.draw(st.integers(1, input_block))
    chunks = chunk_schedule(length, input_block, memory_block)
    assert chunks == token_by_token(length, input_block, memory_block)
    assert [token for chunk in chunks for token in range(chunk.first, chunk.end)] == list(range(length))
    assert all(chunk.end - chunk.start <= input_block + memory_block for chunk in chunks)
    assert all(chunk.context >= min(chunk.first, input_block) for chunk in chunks)
    assert sum(chunk.updates for chunk in chunks) == update_count(length, input_block, memory_block)


def test_of_1024_tokens_31_forwards_make_32_segments() -> None:
    chunks = chunk_schedule(1024, 64, 32)
    assert len(chunks) == 31 and all(chunk.updates for chunk in chunks)
    assert [chunk.end - chunk.first for chunk in chunks] == [64] + [32] * 30
    assert (chunks[0], chunks[1], chunks[2]) == (Chunk(0, 0, 64, True), Chunk(0, 64, 96, True), Chunk(32, 96, 128, True))


def test_tokens_that_are_left_over_are_read_without_a_write() -> None:
    assert chunk_schedule(11, 4, 3) == [
        Chunk(0, 0, 4, True),
        Chunk(0, 4, 7, True),
        Chunk(3, 7, 10, True),
        Chunk(4, 10, 11, False),
    ]
    assert chunk_schedule(3, 4, 3) == [Chunk(0, 0, 3, False)]


def test_writes_are_counted_for_columns_too() -> None:
    lengths = np.array([3, 4, 6, 7, 100])
    assert update_count(lengths, 4, 3).tolist() == [sum(c.updates for c in chunk_schedule(n, 4, 3)) for n in lengths.tolist()]


@pytest.mark.parametrize("memory_columns", [0, 5])
@given(length=st.integers(1, 40), input_block=st.integers(1, 20))
def test_a_row_sees_all_memory_and_a_sliding_window_of_exactly_the_input_block(
    memory_columns: int, length: int, input_block: int
) -> None:
    mask = window_mask(length, input_block, memory_columns)
    assert mask[:, :memory_columns].all()
    for row, seen in enumerate(mask[:, memory_columns:]):
        assert seen.nonzero().flatten().tolist() == list(range(max(0, row - input_block + 1), row + 1))
        assert seen.sum() == min(row + 1, input_block)
