"""Training values: whose word counts, and the learning rate's path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.configuration import ConfigurationError
from trainables.tasks.mqar import MqarTask
from trainables.training.configuration import TrainingConfiguration, training_values


def test_what_is_written_beats_the_task_which_beats_the_defaults() -> None:
    values = training_values(MqarTask, {"lr_gamma": 0.5})
    assert values == TrainingConfiguration().to_values() | {"weight_decay": 0.1, "clip_grad": 1.0, "lr_gamma": 0.5}


@pytest.mark.parametrize(
    "values", [{"lr": 0.0}, {"epochs": -1}, {"optimizer": "sgd"}, {"beta2": 1.0}, {"clip_grad": 0}, {"lrr": 1}]
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        TrainingConfiguration.from_values(values)


def test_null_does_not_clip() -> None:
    assert TrainingConfiguration.from_values({"clip_grad": None}).clip_grad is None


@given(lr=st.floats(1e-7, 1), gamma=st.floats(0.01, 1), epoch=st.integers(1, 400))
def test_the_learning_rate_decays_to_its_floor_and_never_rises(lr: float, gamma: float, epoch: int) -> None:
    training = TrainingConfiguration(lr=lr, lr_gamma=gamma)
    now, later = training.learning_rate(epoch), training.learning_rate(epoch + 1)
    assert later <= now <= lr == training.learning_rate(1)
    assert later >= min(lr, 1e-5)
    assert later == pytest.approx(now * gamma) or later == min(lr, 1e-5)
