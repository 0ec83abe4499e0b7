"""Normalisation of a series by what may be known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trainables.configuration import ConfigurationError
from trainables.tasks._forecasting.series import Array, Series
from trainables.tasks._forecasting.splits import Split

_CONSTANT = 1e-12
"""A standard deviation that is smaller, relative to the largest value, is what rounding leaves of a constant."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Normalisation of each channel: (C,) means and population standard deviations, in raw units."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, series: Series, split: Split) -> Scale:
        """Measured on the values that the split allows; raises ConfigurationError where one of the columns is constant."""
        values = np.concatenate([series.values[part.start : part.stop] for part in split.fitted])
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = values.mean(axis=0), values.std(axis=0)
        for name, deviation, largest in zip(series.value_names, std, np.abs(values).max(axis=0), strict=True):
            if not math.isfinite(deviation):
                raise ConfigurationError([("csv", f"the values of {name!r} are too large (up to {largest:g}): rescale them")])
            if deviation <= _CONSTANT * largest:
                where = "in the whole series" if split.fitted[0] == split.evaluated else "in the part that is trained on"
                raise ConfigurationError(
                    [("csv", f"{name!r} is constant {where}: there is nothing to learn, take another column")]
                )
        return cls(mean, std)

    def normalised(self, values: Array) -> Array:
        return (values - self.mean) / self.std

    def raw(self, normalised: Tensor) -> Array:
        """(N, C) on any device to float64 in raw units."""
        return normalised.double().cpu().numpy() * self.std + self.mean
