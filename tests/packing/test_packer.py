"""What each run is given, and that no GPU is ever given more than it has."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_runs import chosen, no_data, request, told

from orchestrator.packing.capacity import Capacity, GpuMemory, capacity_of
from orchestrator.packing.classes import CLASSES
from orchestrator.packing.packer import NEED_MARGIN, Packer
from orchestrator.packing.prediction import Prediction
from orchestrator.packing.reservation import Reservation
from trainables.memory.context import UNMEASURED_MIB
from trainables.training.request import RunRequest

CAPACITY = Capacity(24_000, 25_000, "a test")
UNITS = 10_000


def packer(capacity: Capacity = CAPACITY, warned: list[str] | None = None) -> Packer:
    return Packer(1, capacity, Prediction(no_data, chosen), ([] if warned is None else warned).append)


def test_a_run_gets_the_share_that_holds_its_expectation_with_the_margin() -> None:
    given_to = packer().reserve(request("a", 4000))
    assert (4000 + UNMEASURED_MIB) * 1.2 <= 24_000 / 4
    assert given_to == Reservation(1, 0.25, 6000, pytest.approx(4000 + UNMEASURED_MIB))


def test_measurements_make_it_smaller() -> None:
    packing = packer()
    before = packing.reserve(request("a", 4000))
    for index in range(10):
        packing.learn(request(str(index), 4000), told(2500, 450))
    after = packing.reserve(request("b", 4000))
    assert after.gpus < before.gpus and after.predicted_mib == pytest.approx(2950, rel=0.02)


def test_a_run_that_has_a_gpu_for_itself_has_no_limit() -> None:
    assert packer().reserve(request("a", 18_000)) == Reservation(1, 1.0, None, pytest.approx(18_000 + UNMEASURED_MIB))


def test_what_no_gpu_holds_gets_a_whole_one_and_one_warning() -> None:
    warned: list[str] = []
    packing = packer(warned=warned)
    given_to = [packing.reserve(request(str(index), 30_000)) for index in range(3)]
    assert [(one.gpus, one.limit_mib) for one in given_to] == [(1.0, None)] * 3
    (text,) = warned
    assert "a run of gpt on mqar may take 36,768 MiB" in text and "24,000 MiB for runs on the smallest usable GPU" in text


def test_after_an_oom_it_gets_what_it_needed_and_a_margin() -> None:
    packing = packer()
    had = packing.reserve(request("a", 4000))
    again = packing.reserve(request("a", 4000), needed_mib=6500)
    assert had.limit_mib == 6000
    assert again.limit_mib is not None and again.limit_mib >= 6500 * (1 + NEED_MARGIN)
    assert again.predicted_mib == 6500


@pytest.mark.parametrize(("needed", "fits"), [(24_500, True), (25_000, True), (25_001, False)])
def test_what_a_gpu_holds_is_tried_again(needed: float, fits: bool) -> None:
    """A whole GPU has no margin to keep for neighbours; a run that had one needed more than this."""
    packing = packer()
    assert packing.fits(needed) is fits
    if fits:
        assert packing.reserve(request("a"), needed) == Reservation(1, 1.0, None, needed)


def test_whatever_cannot_be_predicted_gets_a_whole_gpu() -> None:
    wrong = RunRequest(run="w", architecture="gpt", task="mqar", model={"dim": -1}, artifacts=request("a").artifacts)
    assert packer().reserve(wrong) == Reservation(1, 1.0)


def test_what_measures_memory_in_processes_of_its_own_has_its_gpu_for_itself() -> None:
    measuring = RunRequest(run="m", architecture="gpt", task="memory_footprint", artifacts=request("a").artifacts)
    given_to = packer().reserve(measuring)
    assert (given_to.gpus, given_to.limit_mib) == (1.0, None)


def test_a_smaller_gpu_that_joins_decides_from_then_on() -> None:
    packing = packer()
    packing.joined([GpuMemory("b", "GPU-b", "NVIDIA A100", 80_000, 80_000)])
    assert packing.reserve(request("a", 4000)).limit_mib == 6000
    packing.joined([GpuMemory("c", "GPU-c", "NVIDIA T4", 16_000, 13_000), GpuMemory("d", "GPU-d", "NVIDIA T4", 16_000, 1_000)])
    assert packing.reserve(request("b", 4000)).limit_mib == (13_000 - 800) / 2
    assert packing.fits(12_900) and not packing.fits(13_100)


class Gpus:
    """Ray's account: of each GPU in parts of 10,000; ``choose`` picks among those with room."""

    def __init__(self, memory: list[GpuMemory], drawn: random.Random) -> None:
        self.held: list[list[tuple[int, float]]] = [[] for _ in memory]
        self.memory = memory
        self._drawn = drawn

    def place(self, units: int, mib: float) -> None:
        """Best fit, or now and then any: what holds must not hang on Ray's choice."""
        free = [UNITS - sum(taken for taken, _ in held) for held in self.held]
        fitting = [index for index, room in enumerate(free) if room >= units]
        if fitting:
            best = min(fitting, key=lambda index: free[index])
            self.held[best if self._drawn.random() < 0.7 else self._drawn.choice(fitting)].append((units, mib))

    def leave(self) -> None:
        index = self._drawn.randrange(len(self.held))
        if self.held[index]:
            self.held[index].pop(self._drawn.randrange(len(self.held[index])))


memories = st.lists(st.tuples(st.sampled_from([8e3, 16e3, 24e3, 80e3]), st.floats(0.5, 1)), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(memories, st.integers(0, 10**6))
def test_runs_together_never_hold_more_than_a_gpu_has_less_the_margin(sizes: list[tuple[float, float]], seed: int) -> None:
    """Random predictions, measurements, ends and shortages on random GPUs. What a run holds at most is its limit; without one it
    is alone."""
    drawn = random.Random(seed)
    found = [GpuMemory("n", f"GPU-{index}", "NVIDIA", total, total * free) for index, (total, free) in enumerate(sizes)]
    usable, capacity = [gpu for gpu in found if gpu.is_usable], capacity_of(found)
    assert capacity is not None
    packing, gpus = packer(capacity), Gpus(usable, drawn)
    for index in range(30):
        run = request(str(index), 10 ** drawn.uniform(0, 4.5), drawn.choice(["gpt", "delta_net"]))
        needed = drawn.choice([None, None, None, 10 ** drawn.uniform(2.5, 4.5)])
        given_to = packing.reserve(run, needed)
        assert given_to.limit_mib is not None or given_to.gpus == 1.0
        assert given_to.gpus == 1.0 or (given_to.predicted_mib or 0.0) <= (given_to.limit_mib or 0.0)
        gpus.place(round(given_to.gpus * UNITS), given_to.limit_mib or capacity.capacity_mib)
        if drawn.random() < 0.5:
            packing.learn(run, told(10 ** drawn.uniform(0, 4.5), drawn.uniform(200, 900)))
        if drawn.random() < 0.4:
            gpus.leave()
        for gpu, held in zip(gpus.memory, gpus.held, strict=True):
            assert sum(mib for _, mib in held) <= gpu.capacity_mib + 1e-6
            assert sum(units for units, _ in held) <= UNITS


def test_all_reservations_are_of_at_most_eight_sizes() -> None:
    packing = packer()
    fractions = {packing.reserve(request(str(mib), mib)).gpus for mib in range(10, 30_000, 50)}
    assert fractions == {size.fraction for size in CLASSES}
