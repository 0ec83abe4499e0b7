"""Whether a worker may take another run: on a device whose figures a test sets, since most machines have none."""

import math
from pathlib import Path

import pytest
import torch
from small_runs import CPU, small_request

from trainables import registry
from trainables.memory import cuda
from trainables.training.protocol import Session, StepReport
from trainables.training.worker import RunWorker

CUDA = torch.device("cuda", 0)


class LeakySession(Session):
    """Needs 300 MiB; leaves ``leak_mib`` behind, or loses the device, when it is asked for its only step."""

    held_mib = 100.0
    leak_mib = 0.0
    lost = False
    outcome: Exception | None = None

    @property
    def progress(self) -> int:
        return 0

    def start(self) -> None:
        self.module = torch.nn.Identity()
        type(self).held_mib += 300

    def once_metrics(self) -> dict[str, float]:
        return {}

    def step(self) -> StepReport:
        if self.outcome is not None:
            raise self.outcome
        return StepReport(1, {"x": 1.0}, finished=True)

    def report_again(self) -> StepReport:
        raise AssertionError("nothing to repeat")

    def save(self, path: Path) -> None:
        raise OSError("not here")

    def load(self, path: Path) -> None:
        raise FileNotFoundError(path)

    @classmethod
    def release(cls, device: torch.device) -> None:
        if cls.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        cls.held_mib = 100 + cls.leak_mib


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> type[LeakySession]:
    session = type("Leaky", (LeakySession,), {})
    monkeypatch.setattr(registry.tasks()["mqar"], "session", session)
    monkeypatch.setattr(cuda, "release", session.release)
    monkeypatch.setattr(cuda, "allocated_mib", lambda _: session.held_mib)
    for name in ("create_context", "reset_peaks"):
        monkeypatch.setattr(cuda, name, lambda _: None)
    monkeypatch.setattr(cuda, "reserved_mib", lambda _: session.held_mib)
    monkeypatch.setattr(cuda, "read_peaks", lambda _: {"vram/peak_reserved_mib": 1.0, "vram/peak_allocated_mib": 1.0})
    monkeypatch.setattr(cuda, "device_uuids", lambda _: [])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a fake")
    return session


@pytest.mark.parametrize("error", [None, ValueError("a bug"), torch.OutOfMemoryError("CUDA out of memory")], ids=str)
@pytest.mark.parametrize(("leak_mib", "clean"), [(0.0, True), (0.9, True), (1.5, False), (300.0, False), (-5.0, True)])
def test_a_worker_is_clean_when_its_run_left_nothing(
    tmp_path: Path, device: type[LeakySession], error: Exception | None, leak_mib: float, clean: bool
) -> None:
    worker = RunWorker(CUDA)
    assert worker.is_clean
    worker.start(small_request(tmp_path))
    device.leak_mib, device.outcome = leak_mib, error
    payload = worker.advance()
    assert payload["begun"]["provenance"]["device"] == "a fake"
    worker.stop()
    assert worker.is_clean is clean and worker.leftover_mib == pytest.approx(max(0.0, leak_mib))
    worker.stop()
    assert worker.is_clean is clean, "asked twice, it is not forgotten"


def test_a_worker_whose_device_no_longer_answers_is_not_clean(tmp_path: Path, device: type[LeakySession]) -> None:
    worker = RunWorker(CUDA)
    worker.start(small_request(tmp_path))
    device.lost, device.outcome = True, RuntimeError("CUDA error: an illegal memory access was encountered")
    assert worker.advance()["outcome"] == "failed"
    assert (worker.is_clean, worker.leftover_mib) == (False, math.inf)


def test_on_the_cpu_every_worker_is_clean(tmp_path: Path) -> None:
    worker = RunWorker(CPU)
    worker.start(small_request(tmp_path))
    worker.advance()
    worker.stop()
    assert worker.is_clean and worker.leftover_mib == 0
