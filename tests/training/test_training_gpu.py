"""Training on a CUDA device: the same payloads, with VRAM measured; needs torch, numpy and pytest alone."""

from pathlib import Path

import pytest
import torch
from small_runs import MODELS, Intercepted, register_variant, small_request, started, to_the_end, without_clocks

from trainables.training.worker import RunWorker

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]
CUDA = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


@pytest.mark.parametrize("architecture", MODELS)
def test_training_on_the_gpu_follows_the_cpu(tmp_path: Path, architecture: str) -> None:
    request = small_request(tmp_path, architecture=architecture)
    on_gpu, on_cpu = (to_the_end(started(request, device))[-1].metrics for device in (CUDA, torch.device("cpu")))
    assert on_gpu["train/loss"] == pytest.approx(on_cpu["train/loss"], abs=0.05)


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    request = small_request(tmp_path)
    first = started(request, CUDA)
    first.step()
    first.save(tmp_path / "c.pt")
    expected = to_the_end(first)[-1].metrics
    resumed = started(request, CUDA)
    resumed.load(tmp_path / "c.pt")
    assert without_clocks(to_the_end(resumed)[-1].metrics) == pytest.approx(without_clocks(expected), abs=1e-3)


def test_vram_is_measured_and_given_back(tmp_path: Path) -> None:
    worker = RunWorker(CUDA)
    worker.start(small_request(tmp_path))
    metrics = worker.advance()["metrics"]
    assert metrics["vram/peak_reserved_mib"] >= metrics["vram/peak_allocated_mib"] > 0
    worker.stop()
    assert worker.is_clean and worker.leftover_mib <= 1
    assert torch.cuda.memory_allocated(CUDA) < 2**20


@pytest.mark.parametrize("at_once", [True, False])
def test_running_out_of_vram_is_oom_and_leaves_the_device_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """One tensor that is too large, or 2 GiB after 2 GiB, all held by the module, until the device is full."""

    def take(module: Intercepted, states: torch.Tensor) -> torch.Tensor:
        if at_once:
            return states + torch.empty(2**45, device=states.device).sum()
        module.hoard = []
        while True:
            module.hoard.append(torch.empty(2**31, dtype=torch.uint8, device=states.device))

    register_variant(monkeypatch, "hoarding", lambda inner: Intercepted(inner, take))
    worker = RunWorker(CUDA)
    expected = first_metrics(worker, tmp_path)
    worker.stop()
    before = torch.cuda.memory_allocated(CUDA)
    worker.start(small_request(tmp_path, architecture="hoarding", folder=None))
    assert worker.advance()["outcome"] == "oom"
    assert worker.is_clean and worker.leftover_mib <= 1
    assert torch.cuda.memory_allocated(CUDA) <= before + 2**20
    peak = first_metrics(worker, tmp_path)["vram/peak_allocated_mib"]
    assert peak == pytest.approx(expected["vram/peak_allocated_mib"], rel=0.02, abs=1)


def first_metrics(worker: RunWorker, root: Path) -> dict[str, float]:
    worker.start(small_request(root, folder=None))
    metrics: dict[str, float] = worker.advance()["metrics"]
    return metrics


def test_what_a_run_leaves_on_the_device_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[torch.Tensor] = []

    def leak(module: Intercepted, states: torch.Tensor) -> torch.Tensor:
        if not left:
            left.append(torch.empty(2**26, dtype=torch.uint8, device=states.device))
        return states

    register_variant(monkeypatch, "leaking", lambda inner: Intercepted(inner, leak))
    worker = RunWorker(CUDA)
    worker.start(small_request(tmp_path, architecture="leaking", folder=None))
    worker.advance()
    worker.stop()
    assert not worker.is_clean and worker.leftover_mib == pytest.approx(64, abs=1)
    left.clear()
    first_metrics(worker, tmp_path)
    worker.stop()
    assert worker.is_clean
