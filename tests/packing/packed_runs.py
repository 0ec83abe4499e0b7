"""Runs of the tests, with predictions that the tests choose."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trainables.prediction import PredictedPeak
from trainables.training.request import ResolvedRun, RunRequest


def request(run: str, predicted_mib: float = 1000.0, architecture: str = "gpt", how: str = "traced") -> RunRequest:
    """A run whose learning rate and weight decay carry what :func:`chosen` predicts."""
    training = {"lr": max(1e-9, predicted_mib / 1e6), "weight_decay": 0.0 if how == "traced" else 0.5}
    return RunRequest(run=run, architecture=architecture, task="mqar", training=training, artifacts=Path("artifacts"))


def chosen(resolved: ResolvedRun, data: Path | None) -> PredictedPeak:
    """In place of a predictor."""
    how: Literal["traced", "arithmetic"] = "arithmetic" if resolved.training.weight_decay else "traced"
    mib = resolved.training.lr * 1e6
    return PredictedPeak(mib, mib, how)


def no_data(request: RunRequest) -> Path | None:
    return None


def told(reserved_mib: float, context_mib: float | None = None) -> dict[str, float]:
    """The metrics of a run that has done a step."""
    metrics = {"vram/peak_reserved_mib": reserved_mib, "time/total_s": 1.0, "train/loss": 2.0}
    return metrics if context_mib is None else {**metrics, "vram/context_mib": context_mib}
