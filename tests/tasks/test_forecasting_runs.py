"""Whole runs of the forecasting task: through a worker, and to the errors that are known of the synthetic series."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from series_modules import CPU, Codebooks, Scaled
from torch import nn

from trainables import registry
from trainables.architecture import Architecture
from trainables.configuration import Configuration
from trainables.counts import ParameterCounts
from trainables.exhibits.forecast import read_forecast
from trainables.tasks.forecasting import ForecastingTask
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

PERSISTENCE = 0.0289
"""Normalised error of repeating the last value of the synthetic series."""


@dataclass(frozen=True, kw_only=True)
class Nothing(Configuration):
    """No hyperparameters."""


class LearningCodebooks(Codebooks):
    """Learns the factor by which the last value is to be multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled = Scaled(0.5)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        predictions: torch.Tensor = self.scaled(windows)
        return predictions


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    def build(model: Any, task: Any) -> nn.Module:
        return LearningCodebooks()

    def count(model: Any, task: Any) -> ParameterCounts:
        return ParameterCounts(block=1)

    architecture = Architecture("tiny", "", "series", Nothing, build, count, lambda model, task: task.time_steps)
    monkeypatch.setitem(registry.architectures(), "tiny", architecture)
    return "tiny"


def run(root: Path, architecture: str, **changes: Any) -> list[dict[str, Any]]:
    values = {"run": "r", "artifacts": root / "artifacts", "folder": root / "trial", "task": "forecasting", **changes}
    worker = RunWorker(CPU)
    worker.start(RunRequest(architecture=architecture, **values))
    payloads = [worker.advance()]
    while payloads[-1]["outcome"] is None:
        payloads.append(worker.advance())
    worker.stop()
    assert payloads[-1]["error"] is None
    return payloads


def test_a_run_learns_and_ends_with_final_metrics_and_exhibits(tmp_path: Path, tiny: str) -> None:
    training = {"epochs": 4, "lr": 0.1}
    payloads = run(tmp_path, tiny, task_values={"time_steps": 10, "series_length": 300, "split": "block"}, training=training)
    first, last = payloads[0]["metrics"], payloads[-1]["metrics"]
    assert last["val/mse"] < 0.5 * first["train/loss"] and last["val/persistence_ratio"] < 2
    assert set(ForecastingTask.metrics) <= set(first) and not set(ForecastingTask.final_metrics) & set(first)
    assert set(ForecastingTask.final_metrics) | set(ForecastingTask.metrics) <= set(last)
    assert payloads[-1]["warning"] is None
    exhibit = read_forecast(tmp_path / "trial" / "exhibits")
    assert exhibit is not None and exhibit.truth.shape == (50, 1) and len(exhibit.selections) == 2
    assert {path.suffix for path in (tmp_path / "trial" / "exhibits").iterdir()} == {".npz", ".png"}


def test_exhibits_of_a_run_that_is_repeated_from_its_checkpoint_are_the_same(tmp_path: Path, tiny: str) -> None:
    changes = {"task_values": {"time_steps": 10, "series_length": 300}, "training": {"epochs": 2}}
    last = run(tmp_path, tiny, **changes)[-1]
    data = tmp_path / "trial" / "exhibits" / "predictions.npz"
    written = data.read_bytes()
    data.unlink()
    (again,) = run(tmp_path, tiny, **changes)
    assert data.read_bytes() == written
    for name in ForecastingTask.final_metrics:
        assert again["metrics"][name] == last["metrics"][name]


def test_no_epochs_measures_the_untrained_module_to_the_end(tmp_path: Path, tiny: str) -> None:
    (only,) = run(tmp_path, tiny, task_values={"time_steps": 10}, training={"epochs": 0})
    assert only["outcome"] == "completed" and "val/mse_multi_step_raw" in only["metrics"]


def test_a_module_that_runs_away_step_after_step_completes_without_that_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    monkeypatch.setattr(LearningCodebooks, "forward", lambda self, windows: 100 * self.scaled.factor * windows)
    last = run(tmp_path, tiny, task_values={"time_steps": 10}, training={"epochs": 0})[-1]
    assert last["outcome"] == "completed" and last["warning"] is None
    assert "val/mse_one_step_raw" in last["metrics"] and "val/mse_multi_step_raw" not in last["metrics"]
    assert read_forecast(tmp_path / "trial" / "exhibits") is not None


def test_an_lstm_averages_the_noise_away(tmp_path: Path) -> None:
    task, training = {"time_steps": 96}, {"epochs": 12, "lr": 5e-3, "batch_size": 64}
    last = run(tmp_path, "lstm", model={"hidden_size": 16}, task_values=task, training=training)[-1]["metrics"]
    assert last["val/mse"] < 0.7 * PERSISTENCE and last["val/mse_one_step_raw"] < 0.7 * 2208


@pytest.mark.parametrize("architecture", ["vq_mlp", "vq_ln_mlp", "vq_ln_pe_mlp"])
def test_a_pointwise_codebook_model_is_as_good_as_repeating_the_last_value(tmp_path: Path, architecture: str) -> None:
    model, training = {"codebook_size": 32, "dim": 8}, {"epochs": 20, "lr": 0.03}
    last = run(tmp_path, architecture, model=model, training=training)[-1]["metrics"]
    assert last["val/mse"] == pytest.approx(PERSISTENCE, rel=0.08)
    assert last["val/persistence_ratio"] == pytest.approx(1, abs=0.08)
    assert last["codebook/rows"] == 32 and 0 < last["codebook/usage"] <= 1
