"""The memory as an object: what it holds, what is dropped, and how it is edited."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.pretrained.implicit_memory.memory import ImplicitMemory


def layers(value: float, batch: int = 2, rows: int = 3) -> tuple[Tensor, ...]:
    return tuple(torch.full((batch, rows, 4), value + layer) for layer in range(2))


def memory(capacity: int = 3, writes: int = 0) -> ImplicitMemory:
    """It begins with 0; the write c puts in 10 * c."""
    made = ImplicitMemory(layers(0.0, batch=1), 2, capacity)
    for number in range(1, writes + 1):
        made.write(layers(10.0 * number))
    return made


def values(held: ImplicitMemory) -> list[float]:
    return [snapshot[0][0, 0, 0].item() for snapshot in held.snapshots]


@given(capacity=st.integers(1, 6), writes=st.integers(0, 15))
def test_after_c_writes_the_newest_snapshots_up_to_the_capacity_are_held(capacity: int, writes: int) -> None:
    held = memory(capacity, writes)
    assert values(held) == [10.0 * number for number in range(writes)][-capacity:]
    assert len(held.snapshots) == min(writes, capacity)
    assert held.short_term[0].unique().item() == 10.0 * writes
    assert held.elements == (1 + min(writes, capacity)) * 2 * (2 * 3 * 4)


def test_snapshots_are_removed_and_replaced_in_their_place() -> None:
    held = memory(writes=3)
    held.remove(1)
    assert values(held) == [0.0, 20.0]
    held.replace(-1, layers(7.0))
    assert values(held) == [0.0, 7.0]
    held.replace_short_term(layers(8.0))
    assert held.short_term[1].unique().item() == 9.0
    held.clear()
    assert values(held) == [] and held.short_term[0].unique().item() == 0.0


def test_what_was_handed_out_stays_what_it_was() -> None:
    held = memory(writes=2)
    before = held.state()
    held.remove(0)
    held.write(layers(99.0))
    assert [snapshot[0][0, 0, 0].item() for snapshot in before.snapshots] == [0.0, 10.0]
    assert before.short_term[0].unique().item() == 20.0


@pytest.mark.parametrize("index", [2, -3])
def test_a_snapshot_that_is_not_there_is_named(index: int) -> None:
    held = memory(writes=2)
    with pytest.raises(IndexError, match=f"no snapshot {index}: the memory holds 2"):
        held.remove(index)
    with pytest.raises(IndexError, match="holds 2"):
        held.replace(index, layers(0.0))


def test_tensors_of_other_shapes_or_layers_are_refused() -> None:
    held = memory(writes=1)
    for wrong in (layers(0.0, rows=2), layers(0.0, batch=1), layers(0.0)[:1], ()):
        with pytest.raises(ValueError, match="give one tensor"):
            held.replace(0, wrong)
        with pytest.raises(ValueError, match="2 layers"):
            held.write(wrong)


def test_exchanged_rows_have_the_memory_of_the_next() -> None:
    held = ImplicitMemory(layers(0.0, batch=1), 3, 4)
    rows = tuple(torch.arange(3.0).view(3, 1, 1).expand(3, 3, 4) for _ in range(2))
    held.write(rows)
    held.write(tuple(10 + layer for layer in rows))
    state = held.state().exchanged()
    assert state.short_term[0][:, 0, 0].tolist() == [11.0, 12.0, 10.0]
    assert state.snapshots[1][1][:, 0, 0].tolist() == [1.0, 2.0, 0.0]


def test_what_comes_in_is_detached() -> None:
    held = memory(writes=1)
    held.write(tuple(layer.requires_grad_() for layer in layers(1.0)))
    held.replace(0, tuple(layer.requires_grad_() for layer in layers(1.0)))
    assert not any(tensor.requires_grad for part in (held.short_term, *held.snapshots) for tensor in part)
