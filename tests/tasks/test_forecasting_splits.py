"""Splits: the published one to the window, and honest ones that share no value."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from trainables.configuration import ConfigurationError
from trainables.tasks._forecasting.splits import Split, SplitRule, largest_time_steps, split_windows
from trainables.tasks.forecasting import ForecastingConfiguration

PUBLISHED = SplitRule("random", 0.2, 42)
LENGTH = 733

rules = st.builds(
    SplitRule,
    st.sampled_from(["random", "chronological", "block"]),
    st.floats(0.001, 0.9),
    st.integers(0, 2**32 - 1),
)


def covered(starts: torch.Tensor, time_steps: int) -> set[int]:
    """The values of windows, inputs and targets."""
    return {int(start) + offset for start in starts for offset in range(time_steps + 1)}


def test_the_generator_draws_as_the_published_one_did() -> None:
    split = split_windows(11, 1, PUBLISHED)
    assert torch.cat([split.training, split.validation]).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


@pytest.mark.parametrize(
    ("time_steps", "sizes", "first"),
    [(112, (496, 125), [393, 435, 177, 276, 237]), (96, (509, 128), [526, 463, 491, 420, 586])],
)
def test_the_random_split_is_the_published_one(time_steps: int, sizes: tuple[int, int], first: list[int]) -> None:
    split = split_windows(LENGTH, time_steps, PUBLISHED)
    assert (len(split.training), len(split.validation)) == sizes
    assert split.validation[:5].tolist() == first
    assert split.evaluated == range(LENGTH) and split.fitted == (range(LENGTH),)


def test_the_random_split_leaks_and_that_is_why_there_are_others() -> None:
    split = split_windows(LENGTH, 96, PUBLISHED)
    assert covered(split.validation, 96) <= covered(split.training, 96)


@given(length=st.integers(2, 400), time_steps=st.integers(1, 60), rule=rules)
def test_every_window_lies_in_the_series_and_in_one_part_only(length: int, time_steps: int, rule: SplitRule) -> None:
    split = split_windows(length, time_steps, rule)
    starts = torch.cat([split.training, split.validation]).tolist()
    assert len(starts) == len(set(starts))
    assert all(start >= 0 and start + time_steps < length for start in starts)
    if rule.kind == "random":
        assert len(starts) == max(0, length - time_steps)


@given(length=st.integers(2, 400), time_steps=st.integers(1, 60), rule=rules)
def test_honest_splits_share_no_value(length: int, time_steps: int, rule: SplitRule) -> None:
    assume(rule.kind != "random")
    split = split_windows(length, time_steps, rule)
    training, validation = covered(split.training, time_steps), covered(split.validation, time_steps)
    fitted = {value for part in split.fitted for value in part}
    assert not training & validation
    assert training <= fitted and validation <= set(split.evaluated)
    assert not fitted & set(split.evaluated) and fitted | set(split.evaluated) == set(range(length))
    if rule.kind == "chronological":
        assert split.evaluated.stop == length


@given(length=st.integers(2, 200), rule=rules)
def test_the_largest_window_is_the_longest_of_which_each_part_has_one(length: int, rule: SplitRule) -> None:
    def is_possible(split: Split) -> bool:
        return len(split.training) > 0 and len(split.validation) > 0

    largest = largest_time_steps(length, rule)
    possible = [steps for steps in range(1, length) if is_possible(split_windows(length, steps, rule))]
    assert possible == list(range(1, largest + 1))


@given(rule=rules, first=st.integers(1, 30), second=st.integers(1, 30))
def test_the_parts_do_not_depend_on_the_window(rule: SplitRule, first: int, second: int) -> None:
    one, other = (split_windows(300, steps, rule) for steps in (first, second))
    assert (one.evaluated, one.fitted) == (other.evaluated, other.fitted)


def test_the_block_moves_with_the_seed_and_has_training_values_on_both_sides() -> None:
    places = {split_windows(1000, 10, SplitRule("block", 0.2, seed)).evaluated.start for seed in range(20)}
    assert len(places) > 10
    split = split_windows(1000, 10, SplitRule("block", 0.2, 0))
    assert split.evaluated.start > 0 and split.evaluated.stop < 1000
    assert min(split.training) < split.evaluated.start < max(split.training)


@pytest.mark.parametrize("split", ["random", "chronological", "block"])
def test_a_window_that_is_too_long_tells_the_longest_possible(split: str) -> None:
    values = {"series_length": 120, "split": split}
    with pytest.raises(ConfigurationError, match=r"lower time_steps to at most (\d+)") as caught:
        ForecastingConfiguration.from_values(values | {"time_steps": 119}).split_of(120)
    ((field, message),) = caught.value.problems
    largest = int(message.split("at most ")[1].split(",")[0])
    assert field == "time_steps" and "120 values" in message
    assert len(ForecastingConfiguration.from_values(values | {"time_steps": largest}).split_of(120).validation)
    with pytest.raises(ConfigurationError):
        ForecastingConfiguration.from_values(values | {"time_steps": largest + 1}).split_of(120)


def test_a_series_that_is_too_short_for_any_window_says_so() -> None:
    with pytest.raises(ConfigurationError, match="2 values, too few for any window with the chronological split") as caught:
        ForecastingConfiguration(series_length=2, split="chronological", time_steps=1).split_of(2)
    assert caught.value.problems[0][0] == "series_length"
