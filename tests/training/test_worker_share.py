"""A worker keeps each run within its share of a GPU, and frees it at once: on a device that is played."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, small_request

from trainables import registry
from trainables.memory import DeviceContext, MemoryShare, cuda
from trainables.memory.context import UNMEASURED_MIB
from trainables.training.protocol import Session, StepReport
from trainables.training.worker import RunWorker

CUDA = torch.device("cuda", 0)
SHARE = MemoryShare(limit_mib=4000, predicted_mib=3100)
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 7.81 GiB")


class Device:
    """The allocator: what it holds, its limit, and what was done to it in order."""

    def __init__(self) -> None:
        self.held_mib, self.limit_mib, self.events = 0.0, math.inf, list[str]()

    def set_limit(self, device: torch.device, mib: float) -> None:
        self.limit_mib = mib
        self.events.append("limit")

    def lift_limit(self, device: torch.device) -> None:
        self.limit_mib = math.inf
        self.events.append("lift")

    def release(self, device: torch.device) -> None:
        self.held_mib = 0.0
        self.events.append("release")


class Played(Session):
    """Two steps, or an end by ``error`` in the first or while it is made; tells the arithmetic as sessions do."""

    error: BaseException | None = None
    at_start = False
    device_played: Device

    @property
    def progress(self) -> int:
        return self._progress

    def start(self) -> None:
        self._progress, self.module = 0, torch.nn.Identity()
        self.device_played.held_mib = 700.0
        self.device_played.events.append("start")
        if self.at_start and self.error is not None:
            raise self.error

    def once_metrics(self) -> dict[str, float]:
        return {"params/total": 1.0, **({"vram/predicted_mib": 5.0} if self.device.type == "cuda" else {})}

    def step(self) -> StepReport:
        if self.error is not None:
            raise self.error
        self._progress += 1
        return StepReport(self._progress, {"x": 1.0}, finished=self._progress == 2)

    def report_again(self) -> StepReport:
        raise AssertionError("nothing to repeat")

    def save(self, path: Path) -> None:
        raise OSError("not here")

    def load(self, path: Path) -> None:
        raise FileNotFoundError(path)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[Played]:
    device = Device()
    kind = type("PlayedHere", (Played,), {"device_played": device})
    monkeypatch.setattr(registry.tasks()["mqar"], "session", kind)
    monkeypatch.setattr(cuda, "release", device.release)
    for name in ("set_limit", "lift_limit"):
        monkeypatch.setattr(cuda, name, getattr(device, name))
    for name in ("allocated_mib", "reserved_mib", "peak_reserved_mib"):
        monkeypatch.setattr(cuda, name, lambda _: device.held_mib)
    for name in ("create_context", "reset_peaks"):
        monkeypatch.setattr(cuda, name, lambda _: None)
    monkeypatch.setattr(cuda, "read_peaks", lambda _: {"vram/peak_reserved_mib": device.held_mib})
    monkeypatch.setattr(cuda, "device_uuids", lambda _: [])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a fake")
    return kind


def begun(tmp_path: Path, share: MemoryShare | None = SHARE, device: torch.device = CUDA) -> tuple[RunWorker, dict[str, Any]]:
    worker = RunWorker(device)
    worker.start(small_request(tmp_path), share)
    return worker, worker.advance()


def test_the_limit_is_there_before_the_run_takes_anything_and_gone_after_it(tmp_path: Path, session: type[Played]) -> None:
    worker, first = begun(tmp_path)
    device = session.device_played
    assert device.events.index("limit") < device.events.index("start")
    assert first["outcome"] is None and device.limit_mib == 4000 - UNMEASURED_MIB
    assert worker.advance()["outcome"] == "completed" and device.limit_mib == math.inf


def test_the_first_result_tells_what_was_expected_and_what_the_process_holds_besides(
    tmp_path: Path, session: type[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = begun(tmp_path)
    assert first["once"] == {"params/total": 1.0, "vram/predicted_mib": 3100}, "nobody can measure it here"
    monkeypatch.setattr(DeviceContext, "measured_mib", lambda context: 480.0 if context._has_stepped else None)
    worker, first = begun(tmp_path)
    assert first["once"] == {"params/total": 1.0, "vram/predicted_mib": 3100, "vram/context_mib": 480}
    assert worker.advance()["once"] == {}


def test_where_nobody_expects_anything_the_sessions_own_arithmetic_stays(tmp_path: Path, session: type[Played]) -> None:
    _, first = begun(tmp_path, share=None)
    assert first["once"]["vram/predicted_mib"] == 5.0 and "limit" not in session.device_played.events


def test_on_the_cpu_there_is_neither_limit_nor_expectation(tmp_path: Path, session: type[Played]) -> None:
    session.error = MemoryError("no memory")
    _, first = begun(tmp_path, device=CPU)
    assert (first["outcome"], first["needed_mib"]) == ("oom", None)
    session.error = None
    _, first = begun(tmp_path, device=CPU)
    assert first["once"] == {"params/total": 1.0} and session.device_played.limit_mib == math.inf


@pytest.mark.parametrize("at_start", [True, False])
def test_an_over_run_is_this_runs_lack_of_memory_and_tells_the_need(
    tmp_path: Path, session: type[Played], at_start: bool
) -> None:
    session.error, session.at_start = OUT_OF_MEMORY, at_start
    worker, payload = begun(tmp_path)
    assert payload["outcome"] == "oom"
    assert payload["needed_mib"] == pytest.approx(700 + 1.005 * 1024 + UNMEASURED_MIB)
    assert session.device_played.limit_mib == math.inf and session.device_played.held_mib == 0
    session.error = None
    worker.start(small_request(tmp_path), MemoryShare(6000))
    assert worker.advance()["needed_mib"] is None and session.device_played.limit_mib == 6000 - UNMEASURED_MIB


@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError("the host's")], ids=str)
def test_another_end_tells_no_need(tmp_path: Path, session: type[Played], error: Exception) -> None:
    session.error = error
    _, payload = begun(tmp_path)
    assert payload["outcome"] in ("failed", "oom") and payload["needed_mib"] is None


@pytest.mark.parametrize("ending", ["completed", "failed", "stopped"])
def test_what_a_run_held_is_given_back_as_soon_as_it_has_ended(tmp_path: Path, session: type[Played], ending: str) -> None:
    worker, _ = begun(tmp_path)
    device = session.device_played
    device.events.clear()
    if ending == "failed":
        session.error = ValueError("a bug")
    if ending == "stopped":
        worker.stop()
    else:
        assert worker.advance()["outcome"] == ending
    assert device.events == ["release", "lift"] and device.held_mib == 0
    assert worker.save(tmp_path / "late.pt") is False, "there is nothing left that could be saved"
    assert worker.is_clean
