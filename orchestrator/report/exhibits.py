"""The exhibits that a report shows: those of the best run of each row. They may be a stranger's, and are only looked at."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.report.collect import SweepData, TrialSummary, best_trials
from orchestrator.sweep.state import RunState
from trainables.exhibits import EXHIBITS
from trainables.exhibits.forecast import ForecastExhibit, read_forecast

PICTURES = "pictures"
"""The folder of copied pictures beside the tables."""

_LARGEST_PICTURE = 16 * 2**20
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class RowExhibits:
    """What the best run of a row has to show."""

    row: str
    run: RunState
    folder: Path
    pictures: tuple[Path, ...]
    """PNG files, by name."""

    def copied_names(self) -> dict[str, str]:
        """Each picture, without its ending, with its path beside the tables."""
        return {path.stem: f"{PICTURES}/{self.row}-{path.name}" for path in self.pictures}


def shown_exhibits(data: SweepData, bests: Sequence[TrialSummary] | None = None) -> list[RowExhibits]:
    """Of the rows, the best one first, those whose best run has exhibits."""
    found = []
    for best in best_trials(data) if bests is None else bests:
        run = best_run(data, best)
        folder = _inside(data, data.folder.trials / run.id / EXHIBITS) if run else None
        if run is not None and folder is not None and any(folder.iterdir()):
            found.append(RowExhibits(best.row, run, folder, _pictures(folder)))
    return found


def best_run(data: SweepData, best: TrialSummary) -> RunState | None:
    """The run of a trial with the best first objective; of equal ones the first."""
    objective = data.specification.objective
    valued = [(objective.value_of(run.curve, run.metrics), run) for run in best.runs]
    known = [(value, run) for value, run in valued if value is not None]
    sign = 1 if objective.mode == "max" else -1
    return max(known, key=lambda pair: sign * pair[0])[1] if known else None


def shown_forecasts(exhibits: Sequence[RowExhibits]) -> dict[str, ForecastExhibit]:
    """The forecasts by row; one that cannot be read is left out, with a line on stderr."""
    read = {shown.row: read_forecast(shown.folder) for shown in exhibits}
    return {row: forecast for row, forecast in read.items() if forecast is not None}


def copy_pictures(exhibits: Sequence[RowExhibits], output: Path, prefix: str = "") -> list[Path]:
    """Copies the pictures to where :meth:`RowExhibits.copied_names` says, behind ``prefix``; returns where they are."""
    copied = []
    for shown in exhibits:
        for path, name in zip(shown.pictures, shown.copied_names().values(), strict=True):
            copied.append(output / f"{prefix}{name}")
            copied[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied[-1])
    return copied


def _inside(data: SweepData, folder: Path) -> Path | None:
    """The folder where it is one and no link leads out of the sweep's."""
    try:
        return folder if folder.is_dir() and folder.resolve().is_relative_to(data.folder.path.resolve()) else None
    except (OSError, RuntimeError):
        return None


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.glob("*.png")) if _is_picture(path))


def _is_picture(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_PICTURE:
        return False
    with path.open("rb") as file:
        return file.read(len(_PNG)) == _PNG
