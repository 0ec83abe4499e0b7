"""What a forecast has to show: predictions over the truth, and how often each codeword was chosen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.exhibits.arrays import ExhibitError, read_arrays, texts, write_arrays
from trainables.exhibits.canvas import can_draw
from trainables.exhibits.pictures import draw_codebook_usage, draw_predictions

DATA_FILE = "predictions.npz"
PREDICTIONS_PICTURE = "predictions.png"
USAGE_PICTURE = "codebook_usage.png"

_MOST_CODEBOOKS = 1024
_SERIES = ("truth", "one_step", "multi_step")


@dataclass(frozen=True, eq=False)
class ForecastExhibit:
    """Predictions of N moments of C values, in the units of the data.

    Raises:
        ExhibitError: the shapes do not fit each other, or what must be finite is not.
    """

    time: np.ndarray
    """(N,) float64."""
    truth: np.ndarray
    """(N, C) float64, as are the next two."""
    one_step: np.ndarray
    """Each predicted from the true values before it."""
    multi_step: np.ndarray
    """Each predicted from the predictions before it; may have grown beyond all numbers, and is NaN where it was
    not made."""
    time_name: str
    value_names: tuple[str, ...]
    selections: tuple[np.ndarray, ...] = ()
    """Of each codebook (V,) int64: how often each row weighed most."""

    def __post_init__(self) -> None:
        shape = self.truth.shape
        fits = len(shape) == 2 and self.time.shape == shape[:1] and shape[1] == len(self.value_names) and self.truth.size > 0
        if not fits or any(getattr(self, name).shape != shape for name in _SERIES):
            raise ExhibitError("times, values and predictions have shapes that do not fit each other")
        if any(array.dtype != np.float64 for array in (self.time, self.truth, self.one_step, self.multi_step)):
            raise ExhibitError("times, values and predictions are float64")
        if not (np.isfinite(self.time).all() and np.isfinite(self.truth).all()):
            raise ExhibitError("a time or a true value is not finite")
        for counts in self.selections:
            if counts.ndim != 1 or counts.dtype != np.int64 or not counts.size or counts.min() < 0:
                raise ExhibitError("selections are lists of counts (int64), one list a codebook")

    def write(self, folder: Path) -> None:
        """Writes the data into the existing ``folder``, and the pictures where matplotlib is installed."""
        named = {"time_name": np.array([self.time_name]), "value_names": np.array(self.value_names)}
        series = {name: np.ascontiguousarray(getattr(self, name)) for name in ("time", *_SERIES)}
        counts = {f"selections_{index}": array for index, array in enumerate(self.selections)}
        write_arrays(folder / DATA_FILE, named | series | counts)
        if not can_draw():
            return
        draw_predictions(self, folder / PREDICTIONS_PICTURE)
        if self.selections:
            draw_codebook_usage(self.selections, folder / USAGE_PICTURE)


def _to_stderr(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def read_forecast(folder: Path, warn: Callable[[str], None] = _to_stderr) -> ForecastExhibit | None:
    """The exhibit that :meth:`ForecastExhibit.write` wrote into ``folder``; None where there is none, or where it cannot be read,
    which ``warn`` is told. Nothing is unpickled."""
    path = folder / DATA_FILE
    try:
        if not path.is_file():
            return None
        return _from_arrays(read_arrays(path))
    except (ExhibitError, OSError) as error:
        warn(f"{path} is left out: {error}")
        return None


def _from_arrays(arrays: dict[str, np.ndarray]) -> ForecastExhibit:
    counts = [name for name in arrays if name.startswith("selections_")]
    expected = {"time", *_SERIES, "time_name", "value_names", *(f"selections_{index}" for index in range(len(counts)))}
    if arrays.keys() != expected or len(counts) > _MOST_CODEBOOKS:
        raise ExhibitError("it does not hold what a forecast does")
    time_names = texts(arrays["time_name"])
    if len(time_names) != 1:
        raise ExhibitError("there is one time")
    series = {name: arrays[name] for name in ("time", *_SERIES)}
    selections = tuple(arrays[f"selections_{index}"] for index in range(len(counts)))
    return ForecastExhibit(**series, time_name=time_names[0], value_names=texts(arrays["value_names"]), selections=selections)
