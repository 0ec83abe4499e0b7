"""The forecasting task: the synthetic series, what metrics mean, and errors that are known beforehand."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from series_modules import (
    MEASURED_SERIES,
    Codebooks,
    Persistence,
    Scaled,
    forecasting_task,
    needs_measured_series,
    written_csv,
)
from torch import Tensor, nn

from trainables.configuration import ConfigurationError
from trainables.exhibits.forecast import read_forecast
from trainables.prepared import prepare_once
from trainables.tasks.forecasting import ForecastingConfiguration, ForecastingTask
from trainables.training.configuration import TrainingConfiguration, training_values


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    """As a session evaluates."""
    with torch.inference_mode():
        yield


def normalised(task: ForecastingTask) -> np.ndarray:
    values = task.configuration.series().values
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_the_synthetic_series_is_the_specified_one() -> None:
    series = ForecastingConfiguration().series()
    assert series.values.shape == (733, 1) and series.times[30] == pytest.approx(1.0)
    assert series.values.mean() == pytest.approx(1269.03, abs=0.005)
    assert series.values.std() == pytest.approx(276.31, abs=0.005)
    assert 33**2 / series.values.var() == pytest.approx(0.01426, abs=5e-6)
    other = ForecastingConfiguration(seed=1).series()
    assert not np.array_equal(series.values, other.values)
    quiet = ForecastingConfiguration(noise_std=0.0).series().values[:, 0]
    assert np.argmax(quiet) < 90 and np.all(np.diff(quiet[90:]) < 0)


@pytest.mark.parametrize(("time_steps", "over_targets", "raw"), [(96, 0.02892, 2208.1), (112, 0.02886, 2203.2)])
def test_persistence_on_the_synthetic_series(tmp_path: Path, time_steps: int, over_targets: float, raw: float) -> None:
    task = forecasting_task(tmp_path, time_steps=time_steps)
    assert np.mean(np.diff(normalised(task)[time_steps - 1 :, 0]) ** 2) == pytest.approx(over_targets, abs=5e-6)
    measured = task.evaluate_finally(Persistence(), 64)
    assert measured["val/mse_one_step_raw"] == pytest.approx(raw, abs=0.1)
    values = task.configuration.series().values
    constant = np.mean((values[time_steps:] - values[time_steps - 1]) ** 2)
    assert measured["val/mse_multi_step_raw"] == pytest.approx(constant, rel=1e-5)


@needs_measured_series
@pytest.mark.parametrize(
    ("time_steps", "over_targets", "aligned", "raw"), [(96, 0.02739, 0.0275, 1998), (112, 0.02786, 0.0274, 2032)]
)
def test_persistence_on_the_measured_series(
    tmp_path: Path, time_steps: int, over_targets: float, aligned: float, raw: float
) -> None:
    task = forecasting_task(tmp_path, csv=str(MEASURED_SERIES), time_steps=time_steps)
    assert len(task.configuration.series().values) == 733
    assert np.mean(np.diff(normalised(task)[time_steps - 1 :, 0]) ** 2) == pytest.approx(over_targets, abs=5e-6)
    assert task.evaluate(Persistence(), 64)["val/mse"] == pytest.approx(aligned, abs=6e-5)
    assert task.evaluate_finally(Persistence(), 64)["val/mse_one_step_raw"] == pytest.approx(raw, abs=1)


@pytest.mark.parametrize("split", ["random", "chronological", "block"])
@pytest.mark.parametrize("aligned", [True, False])
def test_persistence_has_the_ratio_one_whatever_the_split_and_the_positions(tmp_path: Path, split: str, aligned: bool) -> None:
    measured = forecasting_task(tmp_path, time_steps=20, split=split).evaluate(Persistence(aligned), 64)
    assert measured["val/persistence_ratio"] == pytest.approx(1.0)
    assert (measured["val/mse"] == measured["val/mse_last_position"]) is not aligned
    assert set(measured) == set(ForecastingTask.metrics)


def test_the_metrics_are_means_over_windows_positions_and_channels(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    columns = [generator.normal(5, 2, 60).tolist(), generator.normal(-1, 30, 60).tolist()]
    task = forecasting_task(
        tmp_path, csv=written_csv(tmp_path, *columns), value_columns=["a", "b"], time_steps=7, split="chronological"
    )
    values = np.array(columns).T
    training, validation = values[:48], values[48:]
    z = (validation - training.mean(axis=0)) / training.std(axis=0)
    starts = range(12 - 7)
    errors = np.stack([0.5 * z[start : start + 7] - z[start + 1 : start + 8] for start in starts]) ** 2
    persistence = np.stack([z[start : start + 7] - z[start + 1 : start + 8] for start in starts]) ** 2
    measured = task.evaluate(Scaled(0.5), 2)
    assert measured["val/mse"] == pytest.approx(errors.mean(), rel=1e-5)
    assert measured["val/mse_last_position"] == pytest.approx(errors[:, -1].mean(), rel=1e-5)
    assert measured["val/persistence_ratio"] == pytest.approx(errors.mean() / persistence.mean(), rel=1e-5)
    raw = 0.5 * z * training.std(axis=0) + training.mean(axis=0)
    final = task.evaluate_finally(Scaled(0.5), 2)
    assert final["val/mse_one_step_raw"] == pytest.approx(np.mean((raw[6:-1] - validation[7:]) ** 2), rel=1e-5)
    halves = z[6] * 0.5 ** np.arange(1, 6)[:, None] * training.std(axis=0) + training.mean(axis=0)
    assert final["val/mse_multi_step_raw"] == pytest.approx(np.mean((halves - validation[7:]) ** 2), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_the_evaluation_batch_size_does_not_change_results(tmp_path: Path, batch_size: int) -> None:
    task = forecasting_task(tmp_path, time_steps=30, horizon=5)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    for measure in (task.evaluate, task.evaluate_finally):
        assert measure(module, batch_size) == pytest.approx(measure(module, 64), rel=1e-6)


def test_training_batches_follow_the_order_of_the_split(tmp_path: Path) -> None:
    task = forecasting_task(tmp_path, time_steps=96)
    batches = list(task.train_batches(100, torch.arange(task.examples_per_epoch)))
    assert [len(batch.inputs) for batch in batches] == [100] * 5 + [9]
    starts = task.configuration.split_of(733).training
    z = torch.from_numpy(normalised(task)).float()
    assert torch.equal(batches[0].inputs[3], z[starts[3] : starts[3] + 96])
    assert torch.equal(batches[0].targets[3], z[starts[3] + 1 : starts[3] + 97])
    (last,) = task.train_batches(2, torch.tensor([508, 0]))
    assert torch.equal(last.inputs[0], batches[-1].inputs[-1]) and torch.equal(last.inputs[1], batches[0].inputs[0])
    assert ForecastingTask.epoch_tokens(task.configuration) == task.examples_per_epoch * task.tokens_per_example == 509 * 96


def test_the_loss_is_over_the_predicted_positions_and_adds_what_the_module_adds(tmp_path: Path) -> None:
    task = forecasting_task(tmp_path, time_steps=5)
    (batch,) = task.train_batches(3, torch.arange(3))
    everywhere, at_the_end = (task.loss(Persistence(aligned), batch).item() for aligned in (True, False))
    errors = (batch.inputs - batch.targets).square()
    assert everywhere == pytest.approx(errors.mean().item()) and at_the_end == pytest.approx(errors[:, -1].mean().item())
    module = Persistence()
    module.auxiliary_loss = torch.tensor(2.0)
    assert task.loss(module, batch).item() == pytest.approx(everywhere + 2)


class Squeezed(nn.Module):
    def forward(self, windows: Tensor) -> Tensor:
        return windows.squeeze(-1)


def test_predictions_of_another_shape_are_refused_before_they_broadcast(tmp_path: Path) -> None:
    task = forecasting_task(tmp_path, time_steps=5)
    (batch,) = task.train_batches(3, torch.arange(3))
    with pytest.raises(ValueError, match=r"Squeezed returned predictions of shape \[3, 5\].*\[3, 1 to 5, 1\]"):
        task.loss(Squeezed(), batch)


@pytest.mark.parametrize("aligned", [True, False])
def test_step_after_step_persistence_is_the_last_known_value(tmp_path: Path, aligned: bool) -> None:
    task = forecasting_task(tmp_path, time_steps=96)
    task.evaluate_finally(Persistence(aligned), 64)
    task.save_exhibits(Persistence(aligned), tmp_path)
    exhibit, values = read_forecast(tmp_path), task.configuration.series().values
    assert exhibit is not None and exhibit.truth.shape == (637, 1)
    assert exhibit.multi_step == pytest.approx(np.full((637, 1), values[95, 0]), rel=1e-5)
    assert exhibit.one_step == pytest.approx(values[95:-1], rel=1e-5)
    assert np.array_equal(exhibit.truth, values[96:]) and exhibit.time[0] == 96 / 30
    assert exhibit.time_name == "time (h)" and exhibit.value_names == ("concentration (µg/m³)",)


def test_the_horizon_ends_the_prediction_step_after_step(tmp_path: Path) -> None:
    task, values = forecasting_task(tmp_path, time_steps=96, horizon=10), ForecastingConfiguration().series().values
    measured = task.evaluate_finally(Persistence(), 64)
    assert measured["val/mse_multi_step_raw"] == pytest.approx(np.mean((values[96:106] - values[95]) ** 2), rel=1e-4)
    task.save_exhibits(Persistence(), tmp_path)
    exhibit = read_forecast(tmp_path)
    assert exhibit is not None and np.isfinite(exhibit.multi_step).sum() == 10


def test_a_prediction_that_runs_away_is_infinite_and_no_error(tmp_path: Path) -> None:
    task = forecasting_task(tmp_path, time_steps=96)
    measured = task.evaluate_finally(Scaled(100.0), 64)
    assert np.isfinite(measured["val/mse_one_step_raw"]) and not np.isfinite(measured["val/mse_multi_step_raw"])
    task.save_exhibits(Scaled(100.0), tmp_path)
    assert read_forecast(tmp_path) is not None


def test_an_honest_split_is_evaluated_on_its_own_part_alone(tmp_path: Path) -> None:
    task, values = forecasting_task(tmp_path, split="chronological", time_steps=20), ForecastingConfiguration().series().values
    start = task.configuration.split_of(733).evaluated.start
    assert start == 586
    measured = task.evaluate_finally(Persistence(), 64)
    assert measured["val/mse_one_step_raw"] == pytest.approx(np.mean(np.diff(values[start + 19 :, 0]) ** 2), rel=1e-5)
    task.save_exhibits(Persistence(), tmp_path)
    exhibit = read_forecast(tmp_path)
    assert exhibit is not None and np.array_equal(exhibit.truth, values[start + 20 :])


def test_the_use_of_codebooks_is_measured_over_the_stretch(tmp_path: Path) -> None:
    task = forecasting_task(tmp_path, time_steps=20)
    measured = task.evaluate_finally(Codebooks(), 64)
    assert set(measured) == set(ForecastingTask.final_metrics)
    assert (measured["codebook/rows"], measured["codebook/usage"]) == (6, 0.5)
    assert set(task.evaluate_finally(Persistence(), 64)) == {"val/mse_one_step_raw", "val/mse_multi_step_raw"}
    task.evaluate_finally(Codebooks(), 64)
    task.save_exhibits(Codebooks(), tmp_path)
    exhibit = read_forecast(tmp_path)
    assert exhibit is not None and [counts.tolist() for counts in exhibit.selections][1] == [0, 713 * 20]
    above = int((np.lib.stride_tricks.sliding_window_view(normalised(task)[:-1, 0], 20) > 0).sum())
    assert exhibit.selections[0].tolist() == [713 * 20 - above, 0, above, 0]


def test_windows_of_one_series_share_its_prepared_data(tmp_path: Path) -> None:
    def folder(**changes: object) -> Path:
        configuration = ForecastingConfiguration.from_values({"series_length": 200, **changes})
        values = ForecastingTask.data_values(configuration)
        return prepare_once(tmp_path, "forecasting", values, lambda into: ForecastingTask.prepare(configuration, into))

    assert folder() == folder(time_steps=8) == folder(split="block", split_seed=3, val_fraction=0.5) != folder(seed=1)
    csv = ForecastingConfiguration(csv="a.csv#sha256=0123456789abcdef")
    elsewhere = dataclasses.replace(csv, csv="b.csv#sha256=0123456789abcdef", seed=5, series_length=9, time_tolerance=0.5)
    assert ForecastingTask.data_values(csv) == ForecastingTask.data_values(elsewhere)
    assert ForecastingTask.data_values(csv) != ForecastingTask.data_values(dataclasses.replace(csv, separator=";"))


def test_training_defaults_are_the_published_ones() -> None:
    training = TrainingConfiguration.from_values(training_values(ForecastingTask, {}))
    assert (training.optimizer, training.weight_decay, training.clip_grad, training.shuffle) == ("adam", 0, None, False)
    assert (training.epochs, training.batch_size, training.lr, training.lr_gamma) == (50, 32, 1e-3, 1)


def test_a_constant_series_is_refused(tmp_path: Path) -> None:
    path = written_csv(tmp_path, [0.1] * 150, list(range(150)))
    with pytest.raises(ConfigurationError, match="'a' is constant in the whole series: there is nothing to learn"):
        ForecastingTask.inspect(ForecastingConfiguration(csv=path))
    ForecastingTask.inspect(ForecastingConfiguration(csv=path, value_columns=["b"]))
    late = written_csv(tmp_path, [3.0] * 120 + list(range(30)))
    with pytest.raises(ConfigurationError, match="'a' is constant in the part that is trained on"):
        ForecastingTask.inspect(ForecastingConfiguration(csv=late, split="chronological", time_steps=5))


def test_values_that_overflow_are_refused(tmp_path: Path) -> None:
    path = written_csv(tmp_path, [1e300, -1e300] * 75)
    with pytest.raises(ConfigurationError, match=r"'a' are too large \(up to 1e\+300\): rescale"):
        ForecastingTask.inspect(ForecastingConfiguration(csv=path))


def test_validation_values_that_never_change_have_no_ratio(tmp_path: Path) -> None:
    path = written_csv(tmp_path, [float(value) for value in range(80)] + [7.0] * 20)
    measured = forecasting_task(tmp_path, csv=path, split="chronological", time_steps=5).evaluate(Scaled(0.5), 8)
    assert set(measured) == {"val/mse", "val/mse_last_position"}


def test_channels_are_the_value_columns() -> None:
    assert ForecastingConfiguration().channels == 1
    assert ForecastingConfiguration(csv="x", value_columns=["a", "b", "c"]).channels == 3
