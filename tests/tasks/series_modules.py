"""Series modules whose errors are known, and the task on a small or a measured series."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.tasks.forecasting import ForecastingConfiguration, ForecastingTask

CPU = torch.device("cpu")
_FOLDER = Path(os.environ.get("MEMSWEEP_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
MEASURED_SERIES = _FOLDER / "y_w.csv"
needs_measured_series = pytest.mark.skipif(not MEASURED_SERIES.is_file(), reason="the measured series is not on this machine")


class Persistence(nn.Module):
    """Repeats the last value: at every position, or at the window's end alone."""

    def __init__(self, aligned: bool = True) -> None:
        super().__init__()
        self.aligned = aligned

    def forward(self, windows: Tensor) -> Tensor:
        return windows if self.aligned else windows[:, -1:]


class Scaled(nn.Module):
    """Predicts ``factor`` times the last value; learns the factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, windows: Tensor) -> Tensor:
        return self.factor * windows


class Codebooks(Persistence):
    """Chooses row 0 of its first codebook below the mean and row 2 above it, and always row 1 of the second one."""

    codebook_sizes = (4, 2)

    def chosen_codes(self, windows: Tensor) -> list[Tensor]:
        codes = 2 * (windows[..., 0] > 0).long()
        return [codes, torch.ones_like(codes)]


def forecasting_task(folder: Path, **values: Any) -> ForecastingTask:
    configuration = ForecastingConfiguration.from_values(values)
    folder.mkdir(exist_ok=True)
    ForecastingTask.prepare(configuration, folder)
    return ForecastingTask(configuration, folder, CPU)


def written_csv(folder: Path, *columns: list[float], header: str = "t,a,b,c") -> str:
    """A CSV of regular times and ``columns``; its path."""
    names = ",".join(header.split(",")[: len(columns) + 1])
    rows = [",".join(str(cell) for cell in (index / 10, *row)) for index, row in enumerate(zip(*columns, strict=True))]
    path = folder / "series.csv"
    path.write_text("\n".join([names, *rows]) + "\n")
    return str(path)
