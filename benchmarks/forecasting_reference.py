"""The published forecasting results, trained again: every model of the reference table with several seeds, beside persistence.

The data are ``y_w.csv``, 733 values of a formaldehyde concentration, one every two minutes; it is not part of this repository.
It is looked for in ``--csv``, then in the folder ``MEMSWEEP_DATA``, then in ``../shared/data``.

Run ``python -m benchmarks.forecasting_reference [--csv PATH] [--seeds N] [--output PATH]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._machine import RESULTS, provenance, write_results
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

DEFAULT_OUTPUT = RESULTS / "forecasting_reference.json"
VAL, ONE_STEP, MULTI_STEP, RATIO = "val/mse", "val/mse_one_step_raw", "val/mse_multi_step_raw", "val/persistence_ratio"

Window = tuple[float, float]

CODEBOOK_VAL: Window = (0.024, 0.0285)
CODEBOOK_ONE_STEP: Window = (1800, 2100)
PERSISTENCE: Window = (0.0274, 0.0279)


@dataclass(frozen=True)
class Reference:
    """One row of the table, with the windows in which the medians over seeds must lie."""

    name: str
    architecture: str
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    time_steps: int = 96
    val: Window = CODEBOOK_VAL
    one_step: Window = CODEBOOK_ONE_STEP
    task: Mapping[str, Any] = field(default_factory=dict)


def _codebook(name: str, architecture: str, lr: float, val: Window = CODEBOOK_VAL, **model: Any) -> Reference:
    return Reference(name, architecture, model, {"lr": lr, "batch_size": 32}, val=val)


REFERENCES: tuple[Reference, ...] = (
    Reference("lstm", "lstm", {}, {"lr": 5e-4, "batch_size": 64}, 112, (0.0134, 0.0140), (1095, 1125)),
    _codebook("vq_mlp 32/8", "vq_mlp", 7e-3, codebook_size=32, dim=8),
    _codebook("vq_ln_mlp 32/8", "vq_ln_mlp", 7e-3, codebook_size=32, dim=8),
    _codebook("vq_ln_pe_mlp 512/32", "vq_ln_pe_mlp", 7e-3, codebook_size=512, dim=32),
    _codebook("vq_ln_pe_mlp 32/8", "vq_ln_pe_mlp", 3e-2, codebook_size=32, dim=8),
    _codebook("vq_ln_pe_mlp 128/16", "vq_ln_pe_mlp", 3e-2, codebook_size=128, dim=16),
    _codebook("grouped 16 x 32, 32", "grouped_vq_mlp", 3e-3, (0.0240, 0.0262), groups=[32] * 16, dim=32),
)


def find_csv(given: Path | None) -> Path:
    """The data file.

    Raises:
        SystemExit: it is not there; status 0 where none was asked for, so that other benchmarks go on.
    """
    folders = [os.environ.get("MEMSWEEP_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    places = [given] if given else [Path(folder) / "y_w.csv" for folder in folders if folder]
    for place in places:
        if place.is_file():
            return place.resolve()
    message = f"skipped: there is no {' or '.join(map(str, places))}; give the file as --csv PATH"
    if given:
        raise SystemExit(message.removeprefix("skipped: "))
    print(message, file=sys.stderr)
    raise SystemExit(0)


def train(reference: Reference, csv: Path, seed: int, folder: Path) -> dict[str, float]:
    """The metrics of the last epoch, and what was measured at the end."""
    request = RunRequest(
        run=f"{reference.name}-{seed}",
        architecture=reference.architecture,
        task="forecasting",
        model=reference.model,
        task_values={"csv": str(csv), "time_steps": reference.time_steps, **reference.task},
        training={"epochs": 50, **reference.training},
        seed=seed,
        artifacts=folder,
    )
    session = TrainingSession(request, torch.device("cpu"))
    session.start()
    report = session.step()
    while not report.finished:
        report = session.step()
    return dict(report.metrics)


def measure(csv: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """All results as plain JSON values."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for reference in REFERENCES:
            started = time.perf_counter()
            runs = [train(reference, csv, seed, Path(folder)) for seed in seeds]
            rows.append(_row(reference, runs))
            print(f"{reference.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    persistence = {f"time_steps {steps}": persistence_mse(csv, steps) for steps in (96, 112)}
    return {**provenance("torch", "memsweep"), "data": csv.name, "seeds": list(seeds), "persistence": persistence, "rows": rows}


def persistence_mse(csv: Path, time_steps: int) -> float:
    """The mean squared error of repeating the last value, in z-units, over every value that has ``time_steps`` before it."""
    values = np.loadtxt(csv, delimiter=",", skiprows=1)[:, 1]
    scaled = (values - values.mean()) / values.std()
    return float(np.mean(np.square(np.diff(scaled)[time_steps - 1 :])))


def _row(reference: Reference, runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    def median(metric: str) -> float:
        return statistics.median(run[metric] for run in runs)

    persistence = [run[VAL] / run[RATIO] for run in runs]
    return {
        "reference": asdict(reference),
        "median": {metric: median(metric) for metric in (VAL, ONE_STEP, RATIO)},
        "persistence": statistics.median(persistence),
        "inside": _inside(reference.val, median(VAL)) and _inside(reference.one_step, median(ONE_STEP)),
        "runs": [{metric: run[metric] for metric in (VAL, ONE_STEP, MULTI_STEP, RATIO) if metric in run} for run in runs],
    }


def _inside(window: Window, value: float) -> bool:
    return window[0] <= value <= window[1]


def table(results: Mapping[str, Any]) -> str:
    """The results as text, the best model first."""
    columns = {
        "model": -22,
        "val MSE": 9,
        "window": 18,
        "persistence": 13,
        "ratio": 7,
        "one step": 10,
        "window ": 13,
        "multi-step": 23,
    }
    header = "".join(f"{name:<{-width}}" if width < 0 else f"{name:>{width}}" for name, width in columns.items())
    lines = [f"{results['data']}, medians over seeds {results['seeds']}; {results['device']}", ""]
    lines += [f"persistence over all targets, {window}: {value:.5f}" for window, value in results["persistence"].items()]
    lines += ["", header]
    for row in sorted(results["rows"], key=lambda row: row["median"][VAL]):
        lines.append(_line(row))
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    reference, median = row["reference"], row["median"]
    multi = [run[MULTI_STEP] for run in row["runs"] if MULTI_STEP in run]
    spread = f"{min(multi):.4g} to {max(multi):.4g}" if multi else "not finite"
    val, one_step = (f"{low:g} to {high:g}" for low, high in (reference["val"], reference["one_step"]))
    return (
        f"{reference['name']:<22}{median[VAL]:>9.5f}{val:>18}{row['persistence']:>13.5f}{median[RATIO]:>7.3f}"
        f"{median[ONE_STEP]:>10.0f}{one_step:>13}{spread:>23}  {'inside' if row['inside'] else 'OUTSIDE'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as a worker with one CPU has; on modules as small as these, more threads wait for one another
    results = measure(find_csv(arguments.csv), range(arguments.seeds))
    write_results(arguments.output, results)
    print(table(results))
    persistence_inside = all(_inside(PERSISTENCE, round(value, 4)) for value in results["persistence"].values())
    if not persistence_inside or not all(row["inside"] for row in results["rows"]):
        raise SystemExit("something lies outside its window")


if __name__ == "__main__":
    main()
