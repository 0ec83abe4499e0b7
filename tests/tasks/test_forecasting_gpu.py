"""The forecasting task with its windows on a CUDA device: what it is on the CPU. Needs torch, numpy and pytest alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from series_modules import CPU
from torch import nn

from trainables.exhibits.arrays import read_arrays
from trainables.exhibits.forecast import DATA_FILE
from trainables.registry import architectures
from trainables.tasks.forecasting import ForecastingConfiguration, ForecastingTask
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda", 0) if torch.cuda.is_available() else CPU

MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"hidden_size": 8},
    "grouped_vq_mlp": {"dim": 8, "groups": [9, 5]},
    "hierarchical_vq_mlp": {"dim": 8, "levels": [9, 5], "order": "inc"},
}


def on_both(folder: Path, name: str, **values: Any) -> list[tuple[ForecastingTask, nn.Module]]:
    """The task and a module on the CPU, and the same on the device."""
    configuration = ForecastingConfiguration.from_values({"time_steps": 8, "series_length": 150, "horizon": 30, **values})
    ForecastingTask.prepare(configuration, folder)
    architecture = architectures()[name]
    found = []
    for device in (CPU, CUDA):
        torch.manual_seed(0)
        module = architecture.build(architecture.configuration.from_values(MODELS[name]), configuration)
        found.append((ForecastingTask(configuration, folder, device), module.to(device).eval()))
    return found


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the shorter mantissa that cuDNN takes for LSTMs where it may."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("split", ["random", "chronological", "block"])
def test_batches_lie_on_the_device_and_are_views_of_the_same_series(tmp_path: Path, split: str) -> None:
    (here, _), (there, _) = on_both(tmp_path, "lstm", split=split)
    order = torch.randperm(here.examples_per_epoch, generator=torch.Generator().manual_seed(1))
    batches = list(zip(here.train_batches(16, order), there.train_batches(16, order), strict=True))
    assert len(batches) == -(-here.examples_per_epoch // 16)
    for expected, found in batches:
        for one, other in zip(expected, found, strict=True):
            assert other.device == CUDA and torch.equal(other.cpu(), one)


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_evaluations_agree_with_the_cpu(tmp_path: Path, name: str) -> None:
    (here, module), (there, moved) = on_both(tmp_path, name)
    order = torch.arange(here.examples_per_epoch)
    for expected, found in zip(here.train_batches(32, order), there.train_batches(32, order), strict=True):
        loss = there.loss(moved, found)
        assert loss.device == CUDA
        torch.testing.assert_close(loss.cpu(), here.loss(module, expected), rtol=1e-4, atol=1e-6)
    with torch.inference_mode():
        assert there.evaluate(moved, 32) == pytest.approx(here.evaluate(module, 32), rel=1e-4)
        assert there.evaluate_finally(moved, 32) == pytest.approx(here.evaluate_finally(module, 32), rel=1e-2)


@pytest.mark.parametrize("name", MODELS)
def test_exhibits_agree_with_the_cpu(tmp_path: Path, name: str) -> None:
    shown = []
    for task, module in on_both(tmp_path, name):
        folder = tmp_path / task.device.type
        folder.mkdir(exist_ok=True)
        with torch.inference_mode():
            task.save_exhibits(module, folder)
        shown.append(read_arrays(folder / DATA_FILE))
    expected, found = shown
    assert expected.keys() == found.keys()
    for series in ("time", "truth", "one_step", "multi_step"):
        np.testing.assert_allclose(found[series], expected[series], rtol=1e-2)
    for counts in (key for key in expected if key.startswith("selections_")):
        assert found[counts].sum() == expected[counts].sum()
        assert np.abs(found[counts] - expected[counts]).sum() <= 0.02 * expected[counts].sum()  # ties


@pytest.mark.parametrize("name", MODELS)
def test_a_run_on_the_device_completes_and_leaves_it_clean(tmp_path: Path, name: str) -> None:
    worker = RunWorker(CUDA)
    values: dict[str, Any] = {"artifacts": tmp_path / "artifacts", "folder": tmp_path / "trial", "model": MODELS[name]}
    task = {"time_steps": 8, "series_length": 150}
    worker.start(RunRequest(run="r", architecture=name, task="forecasting", task_values=task, training={"epochs": 2}, **values))
    worker.advance()
    payload = worker.advance()
    assert payload["outcome"] == "completed" and payload["warning"] is None
    assert payload["metrics"]["vram/peak_allocated_mib"] >= payload["metrics"].get("memory/weights_mib", 0.0)
    assert (tmp_path / "trial" / "exhibits" / DATA_FILE).is_file()
    worker.stop()
    assert worker.is_clean
