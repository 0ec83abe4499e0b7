"""Several workers on one GPU, each within its share; needs torch, numpy and pytest alone. Without a GPU the program that plays a
worker is tested on the CPU."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_worker import answer

from trainables.memory import MIB
from trainables.memory.context import LOADED_LATER_MIB, UNMEASURED_MIB
from trainables.training.worker import RunWorker

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "packed_worker.py"
MODEL = {"dim": 256, "n_layers": 4, "n_heads": 4, "dk": 64, "dv": 64}
TASK = {"vocab_size": 512, "input_seq_len": 256, "num_kv_pairs": 8, "train_examples": 448, "val_examples": 64}
SMALL = {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8}
SMALL_TASK = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 448, "val_examples": 64}
EPOCHS = 3
SLACK_MIB = 64.0
"""Of figures of the whole device, which the driver rounds and other programs move."""
RETURN_PATIENCE_S = 30.0

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Worker:
    """A worker process, told what to do and asked for its answer in two calls, so that several are at work at once."""

    def __init__(self, device: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), device], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker process ended"
        told: dict[str, Any] = json.loads(line)
        return told

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0


def request(root: Path, seed: int, architecture: str = "gpt", small: bool = False) -> dict[str, Any]:
    return {
        **{"run": f"r{seed}", "architecture": architecture, "task": "mqar", "seed": seed, "artifacts": str(root / "artifacts")},
        **{"model": SMALL if small else MODEL, "task_values": SMALL_TASK if small else TASK},
        "training": {"epochs": EPOCHS, "batch_size": 64},
    }


@contextlib.contextmanager
def workers(count: int, device: str) -> Iterator[list[Worker]]:
    made = [Worker(device) for _ in range(count)]
    try:
        yield made
    finally:
        for worker in made:
            worker.end()


def run_together(made: Sequence[Worker], requests: Sequence[dict[str, Any]], limits: Sequence[float | None]) -> list[list[Any]]:
    """The payloads of each run; all begin together, and each epoch begins when the last one has ended everywhere."""
    for worker, one, limit in zip(made, requests, limits, strict=True):
        worker.tell(do="start", request=one, share={"limit_mib": limit})
    for worker in made:
        worker.answer()
    told: list[list[Any]] = [[] for _ in made]
    while going := [number for number, payloads in enumerate(told) if not payloads or payloads[-1]["outcome"] is None]:
        for number in going:
            made[number].tell(do="advance")
        for number in going:
            told[number].append(made[number].answer())
    return told


def losses(payloads: list[Any]) -> list[float]:
    return [payload["metrics"]["train/loss"] for payload in payloads]


def process_mib(payloads: list[Any]) -> float:
    """What the process took at its highest: as the driver says, else by its allocator and what it holds beside it."""
    metrics = payloads[-1]["metrics"]
    beside = payloads[0]["once"].get("vram/context_mib", UNMEASURED_MIB)
    return float(metrics.get("vram/peak_process_mib", metrics["vram/peak_reserved_mib"] + beside))


def used_mib() -> float:
    """Of the whole device, this process's context included."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / MIB


@contextlib.contextmanager
def highest(read: Callable[[], float]) -> Iterator[list[float]]:
    """The largest of many readings, in a list of one element."""
    peak, ended = [read()], threading.Event()

    def sample() -> None:
        while not ended.wait(0.01):
            peak[0] = max(peak[0], read())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def returns_to(baseline_mib: float) -> bool:
    deadline = time.monotonic() + RETURN_PATIENCE_S
    while used_mib() > baseline_mib + SLACK_MIB and time.monotonic() < deadline:
        time.sleep(0.1)
    return used_mib() <= baseline_mib + SLACK_MIB


def test_what_a_worker_process_answers_without_a_gpu_too(tmp_path: Path) -> None:
    worker = RunWorker(torch.device("cpu"))
    assert answer(worker, {"do": "start", "request": request(tmp_path, 0, small=True), "share": {"limit_mib": 1000.0}}) == {}
    payloads = [answer(worker, {"do": "advance"}) for _ in range(EPOCHS)]
    assert [payload["outcome"] for payload in payloads] == [None, None, "completed"] and len(losses(payloads)) == EPOCHS
    assert "vram/context_mib" not in payloads[0]["once"] and payloads[-1]["needed_mib"] is None
    assert answer(worker, {"do": "stop"})["is_clean"]
    assert json.loads(json.dumps(payloads)) == payloads


@pytest.mark.gpu
@needs_gpu
def test_packed_runs_stay_in_their_shares_and_an_over_run_is_nobody_elses_loss(tmp_path: Path) -> None:
    torch.cuda.synchronize()
    before, total = used_mib(), torch.cuda.mem_get_info()[1] / MIB
    seeds = range(3)
    with workers(1, "cuda:0") as made:
        alone = [run_together(made, [request(tmp_path, seed)], [None])[0] for seed in seeds]
    assert returns_to(before)
    limit = max(map(process_mib, alone)) * 1.1 + LOADED_LATER_MIB
    assert 4 * limit < total - before, "the device is too full for this test"
    with workers(4, "cuda:0") as made, highest(used_mib) as peak:
        requests = [*(request(tmp_path, seed) for seed in seeds), request(tmp_path, 9, "hoarder")]
        together = run_together(made, requests, [limit] * 4)
        for worker in made:
            worker.tell(do="stop")
            left = worker.answer()
            assert left["is_clean"] and left["reserved_mib"] < 32, "the cache is given back"
    *packed, over_run = together
    for payloads, expected in zip(packed, alone, strict=True):
        assert payloads[-1]["outcome"] == "completed"
        assert losses(payloads) == pytest.approx(losses(expected), rel=1e-3)
        assert process_mib(payloads) <= limit
    assert [payload["outcome"] for payload in over_run] == [None, "oom"]
    assert over_run[-1]["needed_mib"] == pytest.approx(limit, rel=0.03, abs=64), "one allocation more than the limit"
    assert peak[0] <= before + 4 * limit + SLACK_MIB and peak[0] < total
    assert returns_to(before), "the next run begins at the baseline"


@pytest.mark.gpu
@needs_gpu
def test_a_process_gives_its_cache_back_when_its_run_has_ended_and_takes_the_next(tmp_path: Path) -> None:
    torch.cuda.synchronize()
    with workers(1, "cuda:0") as made:
        first = run_together(made, [request(tmp_path, 0)], [None])[0]
        idle = used_mib()
        over_run = run_together(made, [request(tmp_path, 1, "hoarder")], [process_mib(first) + 500])[0]
        assert over_run[-1]["outcome"] == "oom" and returns_to(idle)
        again = run_together(made, [request(tmp_path, 0)], [None])[0]
        assert losses(again) == pytest.approx(losses(first), rel=1e-3), "without a limit left over"
        assert returns_to(idle)
