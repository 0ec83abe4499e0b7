"""What runs are expected to take, after others have measured."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_runs import chosen, no_data, request, told

from orchestrator.packing.margin import FIRST_MARGIN, LEAST_MARGIN, high_quantile
from orchestrator.packing.prediction import WINDOW, Expectation, Prediction
from trainables.memory.context import UNMEASURED_MIB
from trainables.training.request import RunRequest


def expected(prediction: Prediction, asked: RunRequest) -> Expectation:
    found = prediction.expect(asked)
    assert found is not None
    return found


def learnt(*measured: tuple[RunRequest, Mapping[str, float]]) -> Prediction:
    prediction = Prediction(no_data, chosen)
    for run, metrics in measured:
        prediction.learn(run, metrics)
    return prediction


def on_a_line(count: int, factor: float = 1.2, architecture: str = "gpt") -> list[tuple[RunRequest, dict[str, float]]]:
    """Runs whose allocator took ``factor`` times what was predicted, in contexts of 500 MiB."""
    sizes = [1000.0 + 500 * (index % 5) for index in range(count)]
    return [(request(f"{architecture}-{i}", mib, architecture), told(factor * mib, 500.0)) for i, mib in enumerate(sizes)]


@pytest.mark.parametrize("how", ["traced", "arithmetic"])
def test_before_anything_was_measured_it_is_the_prediction_and_a_context(how: str) -> None:
    found = expected(learnt(), request("a", 2000, how=how))
    assert found == Expectation(pytest.approx(2000 + UNMEASURED_MIB), FIRST_MARGIN[how])


def test_runs_of_the_same_architecture_correct_it() -> None:
    assert expected(learnt(*on_a_line(12)), request("new", 1800)).mib == pytest.approx(500 + 1.2 * 1800, rel=0.02)


def test_another_architecture_follows_what_is_true_of_all_until_it_has_measured() -> None:
    others = [*on_a_line(8, 1.3, "gpt"), *on_a_line(8, 1.3, "unified_kv")]
    new = request("new", 1800, "delta_net")
    assert expected(learnt(*others), new).mib == pytest.approx(500 + 1.3 * 1800, rel=0.03)
    own = on_a_line(8, 0.8, "delta_net")
    assert expected(learnt(*others, *own), new).mib == pytest.approx(500 + 0.8 * 1800, rel=0.03)


def test_what_was_estimated_otherwise_is_corrected_otherwise() -> None:
    found = expected(learnt(*on_a_line(12)), request("new", 1800, how="arithmetic"))
    assert found.mib == pytest.approx(500 + 1800), "traced runs say nothing of the factor of arithmetic, but of the context"


def test_the_margin_shrinks_as_measurements_come() -> None:
    margins = [expected(learnt(*on_a_line(count, 1.0)), request("new", 1800)).margin for count in (0, 4, 8, 16, 32)]
    assert margins == sorted(margins, reverse=True)
    assert margins[0] == FIRST_MARGIN["traced"] and LEAST_MARGIN <= margins[-1] < 0.05


def test_small_runs_leave_the_margin_of_large_ones() -> None:
    assert expected(learnt(*on_a_line(32, 1.0)), request("new", 50_000)).margin == FIRST_MARGIN["traced"]


def test_the_margin_covers_nearly_all_that_was_too_little() -> None:
    """Of 32 runs every fourth takes a third more than the others, for a reason that nothing predicts."""
    runs = [(request(str(i), 4000), told(4000.0 * (1 + (i % 4 == 0) / 3), 500.0)) for i in range(WINDOW)]
    found = expected(learnt(*runs), request("new", 4000))
    assert found.with_margin_mib == pytest.approx(500 + 4000 * 4 / 3), "the largest of them"


@pytest.mark.parametrize(("shares", "found"), [([], 0), ([0.3], 0.3), ([0.0] * 38 + [9.0], 0), ([0.0] * 19 + [1.0], 1)])
def test_a_high_quantile_of_few_is_the_largest(shares: list[float], found: float) -> None:
    assert high_quantile(shares) == found


def test_what_a_run_needed_counts_until_its_next_attempt_measures() -> None:
    prediction, run, new = Prediction(no_data, chosen), request("a", 1000), request("new", 1000)
    prediction.note_need(run, 4000)
    prediction.note_need(request("b", 1000), 4000)
    assert expected(prediction, new).with_margin_mib >= 4000
    prediction.learn(run, told(900, 500))
    prediction.learn(request("b", 1000), told(900, 500))
    assert expected(prediction, new).mib == pytest.approx(1400, rel=0.05)


def test_a_run_that_did_no_step_says_nothing() -> None:
    prediction = learnt(*((request(str(i), 5000), {"vram/peak_reserved_mib": 2.0}) for i in range(20)))
    assert expected(prediction, request("new", 5000)).mib == pytest.approx(5000 + UNMEASURED_MIB)


def test_a_context_that_was_told_once_counts_for_all_later_results() -> None:
    prediction = Prediction(no_data, chosen)
    for index in range(9):
        prediction.learn(request(str(index), 1000), told(400, 300))
        prediction.learn(request(str(index), 1000), told(1000))
    assert expected(prediction, request("new", 1000)).mib == pytest.approx(1300, rel=0.01)


def test_the_larger_figure_of_what_is_outside_the_allocator_counts() -> None:
    metrics = {**told(1000, 300), "vram/peak_process_mib": 1700.0}
    runs = [(request(str(i), 1000), metrics) for i in range(9)]
    assert expected(learnt(*runs), request("new", 1000)).mib == pytest.approx(1700, rel=0.01)


def test_of_a_configuration_that_does_not_fit_nothing_is_expected() -> None:
    prediction = Prediction(no_data, chosen)
    wrong = RunRequest(run="w", architecture="gpt", task="mqar", model={"dim": -1}, artifacts=request("a").artifacts)
    assert prediction.expect(wrong) is None
    prediction.learn(wrong, told(1))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, WINDOW))
def test_a_resumed_sweep_expects_what_the_one_before_did(seed: int, count: int) -> None:
    """While it goes on results of several runs come in turn, each run's peaks growing; the record keeps the latest of each."""
    drawn = random.Random(seed)
    runs = [request(str(index), 1000 + 100 * index, drawn.choice(["gpt", "delta_net"])) for index in range(count)]
    live, record = Prediction(no_data, chosen), {run.run: dict[str, float]() for run in runs}
    for run in runs:
        live.expect(run)
    results = [(run, step) for run, step in itertools.product(runs, range(3)) if drawn.random() < 0.8]
    drawn.shuffle(results)
    for run, step in results:
        metrics = told(900.0 + 150 * int(run.run) + 10 * step, None if step else 500.0 + int(run.run))
        live.learn(run, metrics)
        record[run.run].update(metrics)
    resumed = learnt(*((run, record[run.run]) for run in runs))
    for architecture in ("gpt", "delta_net", "unified_kv"):
        new = request("new-" + architecture, 3000, architecture)
        assert resumed.expect(new) == live.expect(new)


def test_the_latest_runs_count() -> None:
    """After a change of the driver, say: old runs are forgotten."""
    old = [(request(f"old-{i}", 2000), told(2000, 500)) for i in range(3 * WINDOW)]
    new = [(request(f"new-{i}", 2000), told(3000, 500)) for i in range(WINDOW)]
    assert expected(learnt(*old, *new), request("next", 2000)).mib == pytest.approx(3500, rel=0.02)
