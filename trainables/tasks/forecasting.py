"""The task ``forecasting``: predict a series from windows of its past, one step ahead and step after step.

The published pipeline (donglinkang2021/simple-sequence-prediction, MIT) with its random split of overlapping windows, and beside
it two splits that share no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, hyperparameter
from trainables.exhibits.canvas import preload_canvas
from trainables.exhibits.forecast import ForecastExhibit
from trainables.task import EpochTask, register_task
from trainables.tasks._forecasting.csv_reader import CsvSource, read_csv_series
from trainables.tasks._forecasting.predictions import CodebookUse, codebook_use, multi_step, one_step, predict
from trainables.tasks._forecasting.scale import Scale
from trainables.tasks._forecasting.series import Array, Series, read_series, synthetic_series, write_series
from trainables.tasks._forecasting.splits import Split, SplitKind, SplitRule, largest_time_steps, split_windows

_EXHIBIT_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class ForecastingConfiguration(Configuration):
    """A series from a CSV file or the synthetic one, cut into windows of ``time_steps`` values and the value that follows."""

    csv: str | None = hyperparameter(
        None, "CSV file with a header, a time and value columns; null: a synthetic series", file=True
    )
    separator: str = hyperparameter(",", "character between the cells of the CSV")
    time_column: str | None = hyperparameter(None, "column of the times, numbers or ISO 8601; null: the first column")
    value_columns: list[str] | None = hyperparameter(None, "columns of the values; null: the first one that is not the time")
    time_steps: int = hyperparameter(96, "values T of a window", minimum=1)
    split: SplitKind = hyperparameter(
        "random", "random: as published, of all windows, which overlap and so leak; chronological, block: no value is shared"
    )
    val_fraction: float = hyperparameter(
        0.2, "part for validation: of the windows (random), else of the values", above=0, maximum=0.9
    )
    split_seed: int = hyperparameter(42, "seed of the split and of the order of training windows", minimum=0, maximum=2**32 - 1)
    seed: int = hyperparameter(0, "seed of the synthetic series", minimum=0)
    series_length: int = hyperparameter(733, "values of the synthetic series, 30 an hour", minimum=2)
    noise_std: float = hyperparameter(33.0, "standard deviation of the synthetic series' noise", minimum=0)
    time_tolerance: float = hyperparameter(0.01, "largest relative deviation of a time step from the median one", minimum=0)
    horizon: int = hyperparameter(4096, "steps of the multi-step prediction, at most to the end of the stretch", minimum=1)

    @property
    def channels(self) -> int:
        """Number C of value columns."""
        return 1 if self.value_columns is None else len(self.value_columns)

    def series(self) -> Series:
        """Reads or makes the series; raises ConfigurationError where the CSV does not fit, or columns are named and no CSV."""
        if self.csv is None:
            self._refuse_columns()
            return synthetic_series(self.series_length, self.noise_std, self.seed)
        names = None if self.value_columns is None else tuple(self.value_columns)
        return read_csv_series(CsvSource(Path(self.csv), self.separator, self.time_column, names, self.time_tolerance))

    def split_of(self, length: int) -> Split:
        """The split of a series of ``length`` values; raises ConfigurationError where it is too short for a window."""
        rule = SplitRule(self.split, self.val_fraction, self.split_seed)
        split = split_windows(length, self.time_steps, rule)
        if len(split.training) and len(split.validation):
            return split
        largest = largest_time_steps(length, rule)
        rows, field = (f"the series has {length} values", "series_length" if self.csv is None else "csv")
        cure = "lengthen the series"
        if self.split != "random":
            cure += f", or change val_fraction (now {self.val_fraction:g})" + (" or split_seed" if self.split == "block" else "")
        if largest < 1:
            raise ConfigurationError([(field, f"{rows}, too few for any window with the {self.split} split: {cure}")])
        part = "a window of training and one of validation"
        message = f"{rows}, too few for {part} of {self.time_steps} time steps with the {self.split} split"
        raise ConfigurationError([("time_steps", f"{message}: lower time_steps to at most {largest}, or {cure}")])

    def _refuse_columns(self) -> None:
        named = {"time_column": self.time_column, "value_columns": self.value_columns}
        told = "names what is in a CSV, and csv names none: set csv, or leave this out"
        problems: list[tuple[str | None, str]] = [(field, told) for field, value in named.items() if value is not None]
        if problems:
            raise ConfigurationError(problems)


class Windows(NamedTuple):
    """``inputs`` (B, T, C) and ``targets`` (B, T, C), the value after each input; float32, normalised, on the task's device."""

    inputs: Tensor
    targets: Tensor


@register_task("forecasting")
class ForecastingTask(EpochTask):
    """Forecasting: predict the next value of a series from a window of its past, and go on from the prediction."""

    kind = "series"
    configuration_type = ForecastingConfiguration
    configuration: ForecastingConfiguration
    metrics: ClassVar = {"val/mse": "min", "val/mse_last_position": "min", "val/persistence_ratio": "min"}
    final_metrics: ClassVar = {
        "val/mse_one_step_raw": "min",
        "val/mse_multi_step_raw": "min",
        "codebook/rows": "min",
        "codebook/usage": "max",
    }
    reported_metrics = ("val/persistence_ratio",)
    baseline_ratios: ClassVar = {"val/mse": "val/persistence_ratio"}
    training_defaults: ClassVar = {
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 32,
        "epochs": 50,
        "shuffle": False,
    }

    def __init__(self, configuration: ForecastingConfiguration, folder: Path, device: torch.device) -> None:
        super().__init__(configuration, folder, device)
        self._series = read_series(folder)
        self._split = configuration.split_of(len(self._series.values))
        self._scale = Scale.of(self._series, self._split)
        self._normalised = torch.from_numpy(self._scale.normalised(self._series.values)).float().to(device)
        # A view: windows overlap, and only those of a batch are ever copied.
        self._windows = self._normalised.unfold(0, configuration.time_steps + 1, 1).mT
        self._measured: Measured | None = None

    @classmethod
    def measures(cls, metric: str, architecture: Architecture) -> bool:
        return not metric.startswith("codebook/") or hasattr(architecture.build, "chosen_codes")

    @classmethod
    def preload(cls) -> None:
        preload_canvas()

    @classmethod
    def inspect(cls, configuration: Any) -> None:
        series = configuration.series()
        Scale.of(series, configuration.split_of(len(series.values)))

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """Of a CSV what is read of it, of the synthetic series how it is made; windows and splits are made by the worker."""
        read, made = ("csv", "separator", "time_column", "value_columns"), ("csv", "seed", "series_length", "noise_std")
        values = configuration.identity_values()
        return {name: values[name] for name in (made if configuration.csv is None else read)}

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        write_series(configuration.series(), folder)

    @classmethod
    def epoch_tokens(cls, configuration: Any) -> int | None:
        if configuration.csv is not None:
            return None
        return len(configuration.split_of(configuration.series_length).training) * int(configuration.time_steps)

    @property
    def examples_per_epoch(self) -> int:
        return len(self._split.training)

    @property
    def tokens_per_example(self) -> int:
        return self.configuration.time_steps

    @property
    def tokens_per_evaluation(self) -> int:
        return len(self._split.validation) * self.configuration.time_steps

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[Windows]:
        return self._batches(self._split.training[order], batch_size)

    def loss(self, module: nn.Module, batch: Windows) -> Tensor:
        """Mean squared error, normalised, over the positions that the module predicts, and the module's auxiliary loss."""
        predictions = predict(module, batch.inputs)
        error = functional.mse_loss(predictions, batch.targets[:, -predictions.shape[1] :])
        auxiliary = getattr(module, "auxiliary_loss", None)
        return error if auxiliary is None else error + auxiliary

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Mean squared errors, normalised, of all validation windows together; the ratio is to repeating the last value.

        Each is a mean over windows, predicted positions and channels; ``val/mse_last_position`` over the last position alone,
        which is like for like between modules that predict at every position and those that predict at the end.
        """
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        positions = 1
        for inputs, targets in self._batches(self._split.validation, batch_size):
            predictions = predict(module, inputs).double()
            positions = predictions.shape[1]
            errors = (predictions - targets[:, -positions:]).square()
            persistence = (inputs[:, -positions:].double() - targets[:, -positions:]).square()
            sums += torch.stack((errors.sum(), errors[:, -1].sum(), persistence.sum()))
        everywhere, at_the_end, of_persistence = sums.tolist()
        ends = len(self._split.validation) * self.configuration.channels
        measured = {"val/mse": everywhere / (ends * positions), "val/mse_last_position": at_the_end / ends}
        if of_persistence > 0:  # validation values that never change have no such ratio
            measured["val/persistence_ratio"] = everywhere / of_persistence
        return measured

    def evaluate_finally(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Mean squared errors in raw units along the evaluated stretch, over steps and channels, and the use of codebooks.

        The stretch is the validation part; with the random split, which has none, the whole series: then they measure the fit.
        A prediction step after step may run away, and its error be infinite.
        """
        self._measured = measured = self._measure(module, batch_size)
        truth = self._truth()
        metrics = {
            "val/mse_one_step_raw": _mean_square(measured.one_step - truth),
            "val/mse_multi_step_raw": _mean_square(measured.multi_step - truth[: len(measured.multi_step)]),
        }
        if measured.codebooks is not None:
            metrics |= {"codebook/rows": float(measured.codebooks.rows), "codebook/usage": measured.codebooks.usage}
        return metrics

    def save_exhibits(self, module: nn.Module, folder: Path) -> None:
        """The predictions that :meth:`evaluate_finally` measured; made again where it was not this object that did."""
        measured = self._measured or self._measure(module, _EXHIBIT_BATCH)
        truth = self._truth()
        steps = np.full_like(truth, np.nan)
        steps[: len(measured.multi_step)] = measured.multi_step
        evaluated, selections = self._split.evaluated, measured.codebooks.selections if measured.codebooks else ()
        ForecastExhibit(
            time=self._series.times[evaluated.start + self.configuration.time_steps : evaluated.stop],
            truth=truth,
            one_step=measured.one_step,
            multi_step=steps,
            time_name=self._series.time_name,
            value_names=self._series.value_names,
            selections=tuple(counts.numpy() for counts in selections),
        ).write(folder)

    def _batches(self, starts: Tensor, batch_size: int) -> Iterator[Windows]:
        for part in torch.split(starts.to(self.device), batch_size):
            values = self._windows[part]
            yield Windows(values[:, :-1].contiguous(), values[:, 1:])

    def _truth(self) -> Array:
        """(N, C) values of the evaluated stretch that have a whole window before them, in raw units."""
        evaluated = self._split.evaluated
        return self._series.values[evaluated.start + self.configuration.time_steps : evaluated.stop]

    def _measure(self, module: nn.Module, batch_size: int) -> Measured:
        evaluated, time_steps = self._split.evaluated, self.configuration.time_steps
        stretch = self._normalised[evaluated.start : evaluated.stop]
        return Measured(
            self._scale.raw(one_step(module, stretch, time_steps, batch_size)),
            self._scale.raw(multi_step(module, stretch, time_steps, self.configuration.horizon)),
            codebook_use(module, stretch, time_steps, batch_size),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions along the evaluated stretch in raw units: (N, C), and the first steps of the same."""

    one_step: Array
    multi_step: Array
    codebooks: CodebookUse | None


def _mean_square(errors: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.square(errors).mean())
