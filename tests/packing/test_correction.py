"""The line from predicted to measured memory."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.packing.correction import Line, Pair, fit_line

PRIOR = Line(600.0, 1.0)
DEVIATION = 0.15


def measured(seed: int, line: Line, count: int, noise: float) -> list[Pair]:
    """Pairs on a line, each measured with an error of at most ``noise`` of it."""
    drawn = random.Random(seed)
    predicted = [10 ** drawn.uniform(1.5, 4.5) for _ in range(count)]
    return [(x, line.at(x) * (1 + drawn.uniform(-noise, noise))) for x in predicted]


def errors(fitted: Line, line: Line, pairs: list[Pair]) -> list[float]:
    return [abs(fitted.at(x) / line.at(x) - 1) for x, _ in pairs]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.6, 1.6), st.floats(150, 1500), st.floats(0.01, 0.2))
def test_after_forty_measurements_the_median_error_is_below_the_noise(seed: int, a: float, b: float, noise: float) -> None:
    line = Line(b, a)
    pairs = measured(seed, line, 40, noise)
    assert statistics.median(errors(fit_line(pairs, PRIOR, DEVIATION), line, pairs)) < noise


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.7, 1.4), st.sampled_from([0.0, 0.05, 20.0]))
def test_one_wrong_figure_among_eight_changes_little(seed: int, a: float, times: float) -> None:
    line = Line(550.0, a)
    pairs = measured(seed, line, 8, 0.01)
    x, y = pairs[seed % 8]
    wrong = [*pairs[: seed % 8], (x, y * times), *pairs[seed % 8 + 1 :]]
    fitted = fit_line(wrong, PRIOR, DEVIATION)
    assert statistics.median(errors(fitted, line, pairs)) < 0.05


def test_without_measurements_it_is_the_prior() -> None:
    assert fit_line([], PRIOR, DEVIATION) == PRIOR


def test_one_measurement_proves_little_and_two_that_agree_outvote_the_prior() -> None:
    truth = Line(600.0, 1.5)
    pairs = [(8_000.0, truth.at(8_000)), (9_000.0, truth.at(9_000))]
    assert fit_line(pairs[:1], PRIOR, DEVIATION).at(8_500) == pytest.approx(PRIOR.at(8_500), rel=0.08)
    assert fit_line(pairs, PRIOR, DEVIATION).at(8_500) == pytest.approx(truth.at(8_500), rel=0.03)


@pytest.mark.parametrize("rest", [2.0, 40.0])
def test_small_models_teach_the_constant_and_not_the_factor(rest: float) -> None:
    """What is 120 MiB more than 603 is no reason to expect 40 times of a larger model."""
    fitted = fit_line([(3.0 + index % 3, 723.0) for index in range(10)], PRIOR, DEVIATION)
    assert fitted.at(3) == pytest.approx(723, rel=0.01)
    assert fitted.at(rest * 1000) == pytest.approx(720 + rest * 1000, rel=0.02)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(pairs: list[Pair], shuffling: random.Random) -> None:
    shuffled = list(pairs)
    shuffling.shuffle(shuffled)
    assert fit_line(pairs, PRIOR, DEVIATION) == fit_line(shuffled, PRIOR, DEVIATION)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=20))
def test_it_never_expects_less_than_nothing(pairs: list[Pair]) -> None:
    fitted = fit_line(pairs, PRIOR, DEVIATION)
    assert fitted.constant_mib >= 0 and fitted.factor > 0
