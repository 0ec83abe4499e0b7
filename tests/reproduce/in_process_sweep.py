"""Records of real training without Ray: the controller with workers of this process, and records changed afterwards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import Tensor, nn

from orchestrator.command_line import reproduce_command
from orchestrator.record import Journal, read_journal
from orchestrator.record.validation import RECORD_FORMAT
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.telemetry import NoTelemetry
from trainables import registry
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

EPOCHS = 4
SPACE = f"""
task: {{name: mqar, vocab_size: 32, input_seq_len: 16, num_kv_pairs: 2, train_examples: 64, val_examples: 32}}
model: {{dim: 8, n_layers: 1, n_heads: 1, dk: 4, dv: 4}}
architectures: {{gpt: {{}}}}
training: {{lr: {{float: [1e-3, 1e-2], log: true}}, epochs: {EPOCHS}}}
objective: {{metric: val/loss}}
search: {{sampler: random, trials: 1, replicates: 2}}
"""
FIRST, SECOND = "gpt-0000-s0", "gpt-0000-s1"
"""The runs of the one trial."""


def record_sweep(
    storage: Path,
    space: str = SPACE,
    *,
    dies_after: int = 0,
    lost_after: int = 0,
    interrupted_after: int = 0,
    name: str = "small",
) -> SweepFolder:
    """Trains a sweep. Each run's process may die after so many reports and be followed by another; be lost for good; or the
    sweep may be interrupted."""
    folder = SweepFolder(storage / "small")
    folder.path.mkdir(parents=True)
    folder.space.write_text(space)
    header = {"kind": "sweep", "format": RECORD_FORMAT, "name": "small", "identity": "0" * 12, "version": "0", "task": "mqar"}
    header |= {"space": space, "own_tracking": False}
    with Journal(folder.record) as journal:
        journal.append(header)
        controller = SweepController(read_search_space(folder.space), folder, journal, NoTelemetry(), events=[header])
        while request := controller.next_run():
            request = dataclasses.replace(request, checkpoint_seconds=0.0)
            if dies_after:
                _report(controller, request, dies_after)
            going = _report(controller, request, lost_after or interrupted_after)
            if going and lost_after:
                controller.on_lost(request.run, "the worker process died, more often than it is restarted")
            elif going:
                controller.interrupt()
                break
            journal.append({"kind": "tracking", "run": request.run, "tracking_id": tracking_id(request.run)})
    return folder


def tracking_id(run: str) -> str:
    return run.encode().hex()[:32].rjust(32, "0")


def _report(controller: SweepController, request: RunRequest, reports: int) -> bool:
    """One process: trains to the end, or for so many reports; returns whether the run goes on."""
    worker = RunWorker(torch.device("cpu"))
    worker.start(request)
    count = 0
    while controller.on_result(request.run, json.loads(json.dumps(worker.advance()))):
        count += 1
        if count == reports:
            return True
    worker.stop()
    return False


def events_of(folder: SweepFolder, kind: str, run: str = FIRST) -> list[dict[str, Any]]:
    return [event for event in read_journal(folder.record) if event["kind"] == kind and event.get("run") == run]


def change_record(folder: SweepFolder, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Writes the record again with each event as ``change`` makes it, without those for which it gives None."""
    events = [change(event) for event in read_journal(folder.record)]
    folder.record.unlink()
    with Journal(folder.record) as journal:
        for event in events:
            if event is not None:
                journal.append({name: value for name, value in event.items() if name != "checksum"})


def files_of(folder: SweepFolder) -> dict[str, tuple[int, bytes]]:
    """Times and contents of everything in a sweep's folder."""
    files = {path for path in folder.path.rglob("*") if path.is_file()}
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def command(*arguments: str) -> int:
    """The exit status of ``memsweep reproduce``."""
    app = typer.Typer()
    reproduce_command.register(app)
    try:
        return int(app(list(arguments), standalone_mode=False) or 0)
    except SystemExit as ended:
        return int(ended.code or 0)


def register_variant(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[int, Tensor], Tensor]) -> None:
    """For one test, an ``gpt`` as ``name``, its hidden states through ``change(training pass, states)``."""
    gpt = registry.architectures()["gpt"]
    variant = dataclasses.replace(gpt, name=name, build=lambda model, task: _Changed(gpt.build(model, task), change))
    monkeypatch.setitem(registry.architectures(), name, variant)


class _Changed(nn.Module):
    def __init__(self, inner: nn.Module, change: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change, self.passes = inner, change, 0
        self.output_head = inner.output_head

    def hidden_states(self, ids: Tensor) -> Tensor:
        self.passes += self.training
        return self.change(self.passes, self.inner.hidden_states(ids))  # type: ignore[operator]
