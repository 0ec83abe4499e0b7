"""Runs over series through sessions and workers: going on from a checkpoint, one run after another, and their memory."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, started, to_the_end, without_clocks

from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

SMALL = {"dim": 8, "levels": [9, 5]}
MODELS = {
    "soft": ("hierarchical_vq_mlp", SMALL),
    "exchanged": ("hierarchical_vq_mlp", {**SMALL, "order": "inc"}),
    "positions": ("vq_ln_pe_mlp", {"dim": 8, "codebook_size": 9}),
    "hard_ema": ("hierarchical_vq_mlp", {**SMALL, "vq_mode": "hard_ema"}),
    "hard_ste": ("hierarchical_vq_mlp", {**SMALL, "vq_mode": "hard_ste"}),
    "hard_learned": ("hierarchical_vq_mlp", {**SMALL, "vq_mode": "hard_ste", "codebook_trainable": True}),
    "lstm": ("lstm", {"hidden_size": 6, "random_initial_state": True}),
}
HARD = ["hard_ema", "hard_ste", "hard_learned"]


def series_request(root: Path, model: str, **changes: Any) -> RunRequest:
    """Three epochs of a short series."""
    architecture, values = MODELS[model]
    fixed: dict[str, Any] = {
        "run": "r1",
        "architecture": architecture,
        "task": "forecasting",
        "model": values,
        "artifacts": root / "artifacts",
        "task_values": {"time_steps": 8, "series_length": 120, "split": "block"},
        "training": {"epochs": 3, "lr": 0.03},
    }
    return RunRequest(**{**fixed, **changes})


def last_metrics(worker: RunWorker, request: RunRequest) -> dict[str, float]:
    worker.start(request)
    payload = worker.advance()
    while payload["outcome"] is None:
        payload = worker.advance()
    assert payload["outcome"] == "completed", payload["error"]
    metrics: dict[str, float] = payload["metrics"]
    return metrics


@pytest.mark.parametrize("model", MODELS)
def test_a_series_run_goes_on_from_its_checkpoint_bit_for_bit(tmp_path: Path, model: str) -> None:
    request = series_request(tmp_path, model)
    undisturbed = started(request)
    reports = to_the_end(undisturbed)
    first = started(request)
    first.step()
    first.save(tmp_path / "c.pt")
    resumed = started(request)
    torch.randn(5)  # whatever was drawn in between
    resumed.load(tmp_path / "c.pt")
    again = to_the_end(resumed)
    for expected, found in zip(reports[1:], again, strict=True):
        assert without_clocks(found.metrics) == without_clocks(expected.metrics)
    state = resumed.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in undisturbed.module.state_dict().items())


@pytest.mark.parametrize("model", MODELS)
def test_a_run_behind_another_in_one_worker_gives_what_it_gives_alone(tmp_path: Path, model: str) -> None:
    request, other = series_request(tmp_path, model), series_request(tmp_path, "hard_ema", run="r0", seed=7)
    alone = last_metrics(RunWorker(CPU), request)
    worker = RunWorker(CPU)
    last_metrics(worker, other)
    assert without_clocks(last_metrics(worker, request)) == without_clocks(alone)


@pytest.mark.parametrize("model", HARD)
def test_without_its_library_a_hard_mode_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    worker = RunWorker(CPU)
    worker.start(series_request(tmp_path, model))
    payload = worker.advance()
    assert payload["outcome"] == "failed"
    assert "install vector-quantize-pytorch" in payload["error"]["message"] and "vq_mode: soft" in payload["error"]["message"]


def test_without_that_library_soft_modes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    assert "val/mse" in last_metrics(RunWorker(CPU), series_request(tmp_path, "soft"))
