"""A series: values at regular times. The synthetic one, and how a series is kept among the prepared data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SAMPLES_PER_HOUR = 30


@dataclass(frozen=True, slots=True)
class Series:
    """``times`` (n,), regular and increasing; ``values`` (n, C), finite, in raw units."""

    times: Array
    values: Array
    time_name: str
    value_names: tuple[str, ...]


def synthetic_series(length: int, noise_std: float, seed: int) -> Series:
    """A quick rise and a slow decay, 1850 (1 - exp(-(t + 0.035) / 0.35)) exp(-t / 32), with white noise; t in hours, 30 an hour.

    It has the shape of the measured series on which the published codebook models were trained.
    """
    hours = np.arange(length) / _SAMPLES_PER_HOUR
    rise = -np.expm1(-(hours + 0.035) / 0.35)
    noise = np.random.default_rng(seed).normal(0.0, noise_std, length)
    values = 1850 * rise * np.exp(-hours / 32) + noise
    return Series(hours, values[:, None], "time (h)", ("concentration (µg/m³)",))


def write_series(series: Series, folder: Path) -> None:
    """``times.npy`` (n,) and ``values.npy`` (n, C), float64, and ``columns.json`` with the names of both."""
    np.save(folder / "times.npy", series.times)
    np.save(folder / "values.npy", series.values)
    names = {"time": series.time_name, "values": list(series.value_names)}
    (folder / "columns.json").write_text(json.dumps(names, ensure_ascii=False) + "\n", encoding="utf-8")


def read_series(folder: Path) -> Series:
    """What :func:`write_series` wrote."""
    times, values = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("times", "values"))
    names = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    return Series(times, values, names["time"], tuple(names["values"]))
