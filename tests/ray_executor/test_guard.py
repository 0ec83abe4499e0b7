"""What a guard holds of a GPU, on a node whose scheduler is played."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ray_executor.guard import SHARES, Guard
from orchestrator.ray_executor.tenancy import Place

SICK = Place("n", "sick")


@dataclass
class Taken:
    node: Node
    place: Place
    share: float

    def release(self) -> None:
        self.node.free[self.place.gpu] += self.share


class Node:
    """Shares of GPUs that are free; a share is placed on the fullest GPU that has room, or on the emptiest."""

    def __init__(self, free: dict[str, float], fullest: bool = True) -> None:
        self.free = free
        self.fullest = fullest
        self.asked = 0

    def take(self, node: str, share: float) -> Taken | None:
        assert node == "n"
        self.asked += 1
        room = [gpu for gpu, free in self.free.items() if free >= share - 1e-9]
        if not room:
            return None
        chosen = (min if self.fullest else max)(room, key=lambda gpu: self.free[gpu])
        self.free[chosen] -= share
        return Taken(self, Place(node, chosen), share)


def test_a_free_gpu_is_held_whole_and_its_neighbours_get_back_what_was_taken_of_them() -> None:
    node = Node({"a": 1.0, "b": 1.0, "sick": 1.0, "c": 0.5})
    guard = Guard(SICK, node.take)
    guard.tighten()
    assert guard.share == 1.0 and node.free == {"a": 1.0, "b": 1.0, "sick": 0.0, "c": 0.5}
    guard.release()
    assert guard.share == 0.0 and node.free["sick"] == 1.0


def test_what_a_neighbour_leaves_is_taken_later() -> None:
    node = Node({"sick": 0.5})
    guard = Guard(SICK, node.take)
    guard.tighten()
    assert guard.share == 0.5
    node.free["sick"] += 0.25
    guard.tighten()
    assert guard.share == 0.75 and node.free["sick"] == 0.0


def test_a_gpu_that_is_held_whole_is_not_asked_for_again() -> None:
    node = Node({"sick": 1.0, "a": 1.0})
    guard = Guard(SICK, node.take)
    guard.tighten()
    node.asked = 0
    guard.tighten()
    assert node.asked == 0


def test_an_error_on_the_way_gives_back_what_was_taken_elsewhere() -> None:
    node = Node({"a": 1.0, "sick": 0.5})

    def take(name: str, share: float) -> Taken | None:
        if share < 1:
            raise RuntimeError("the node is lost")
        return node.take(name, share)

    with pytest.raises(RuntimeError):
        Guard(SICK, take).tighten()
    assert node.free == {"a": 1.0, "sick": 0.5}


sixteenths = st.integers(0, 16).map(lambda parts: parts / 16)


@given(free=st.lists(sixteenths, min_size=0, max_size=7), sick=sixteenths, fullest=st.booleans())
def test_all_that_is_free_is_held_and_nothing_of_any_other_gpu(free: list[float], sick: float, fullest: bool) -> None:
    others = {f"gpu{number}": share for number, share in enumerate(free)}
    node = Node({**others, "sick": sick}, fullest)
    guard = Guard(SICK, node.take)
    guard.tighten()
    assert guard.share == pytest.approx(sick)
    assert {gpu: share for gpu, share in node.free.items() if gpu != "sick"} == others


@given(classes=st.lists(st.sampled_from([0.5, 0.3333, 0.25, 0.1666, 0.125, 0.0833, 0.0625]), max_size=8))
def test_beside_any_runs_that_were_packed_less_than_the_smallest_class_stays_free(classes: list[float]) -> None:
    running = 0.0
    for share in classes:
        running += share if running + share <= 1 else 0.0
    node = Node({"sick": 1.0 - running})
    Guard(SICK, node.take).tighten()
    assert node.free["sick"] < SHARES[-1]
