"""What counts as the same figure where a person does not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reproduce.comparison import ComparedValue, is_deterministic
from orchestrator.reproduce.provenance import KEYS, TOLERANCE_ELSEWHERE, Origin, default_tolerance

HERE = {"code": "c", "data": "d", "torch": "2", "device": "cpu", "threads": "1", "python": "3.11", "memsweep": "1"}


def origins(now: dict[str, str] | None = None, **recorded: tuple[str, ...]) -> list[Origin]:
    """As on the CPU of today, but for what is given."""
    return [Origin(key, recorded.get(key, (HERE[key],)), (now or HERE)[key]) for key in KEYS]


@pytest.mark.parametrize("key", ["code", "data", "python", "memsweep"])
def test_on_the_same_cpu_every_bit_counts(key: str) -> None:
    assert default_tolerance(origins()) == 0
    assert default_tolerance(origins(**{key: ("other",)})) == 0


@pytest.mark.parametrize("key", ["torch", "device", "threads"])
def test_what_changes_rounding_is_allowed_for_where_it_is_known(key: str) -> None:
    assert default_tolerance(origins(**{key: ("other",)})) == TOLERANCE_ELSEWHERE
    assert default_tolerance(origins(**{key: (HERE[key], "other")})) == TOLERANCE_ELSEWHERE
    assert default_tolerance(origins(**{key: ()})) == 0


def test_a_gpu_is_not_held_to_the_bit() -> None:
    gpu = HERE | {"device": "a GPU"}
    assert default_tolerance(origins(gpu, device=("a GPU",))) == TOLERANCE_ELSEWHERE


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_the_relative_difference_is_symmetric_and_zero_for_equal_figures_alone(a: float, b: float) -> None:
    there, back = (ComparedValue(1, "val/loss", *pair).relative for pair in ((a, b), (b, a)))
    assert there == back >= 0
    assert (there == 0) == (a == b) or abs(a - b) / max(abs(a), abs(b)) == 0
    assert there <= 2


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val/loss", True),
        ("solved_epoch", True),
        ("params/total", True),
        ("memory/estimated_mib", True),
        ("memory/weights_mib", True),
        ("memory/peak_host_mib", False),
        ("vram/peak_allocated_mib", False),
        ("vram/predicted_mib", False),
        ("time/train_s", False),
        ("throughput/tokens_per_s", False),
    ],
)
def test_only_what_the_seed_decides_is_compared(metric: str, expected: bool) -> None:
    assert is_deterministic(metric) == expected
