"""Runs a recorded run again, in this process, in a temporary folder: nothing is written where the sweep keeps its files."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from orchestrator.reproduce.inputs import provide_inputs
from orchestrator.reproduce.recorded import RecordedRun
from orchestrator.space.specification import SweepSpecification
from trainables.finite import finite_metrics
from trainables.redaction import redact
from trainables.training.attempts import attempt_folder
from trainables.training.provenance import provenance
from trainables.training.request import RunRequest
from trainables.training.seeding import fit_threads
from trainables.training.worker import RunWorker

_MOST_THREADS = 1024
"""A record may come from anywhere."""


@dataclass
class Reproduction:
    """What came out this time."""

    provenance: Mapping[str, str]
    fingerprint: str | None = None
    steps: dict[int, dict[str, float]] = field(default_factory=dict)
    """Metrics by step; those known once have step 0."""
    last_step: int = 0
    outcome: str | None = None
    """None where it was left before its end."""
    error: Mapping[str, str] | None = None
    cut_short: bool = False
    """Left before the last recorded step, because only so many steps were asked for."""

    def add(self, payload: Mapping[str, Any]) -> None:
        """Takes what the worker reports; as in the record, only finite values are kept."""
        self.provenance = payload["begun"]["provenance"] if payload["begun"] else self.provenance
        self.fingerprint, self.last_step = payload["fingerprint"], payload["progress"]
        self.outcome, self.error = payload["outcome"], payload["error"]
        for step, metrics in ((0, payload["once"]), (payload["progress"], payload["metrics"])):
            self.steps.setdefault(step, {}).update(finite_metrics(metrics))


class RerunObserver:
    """What a person is told meanwhile; this one tells nothing."""

    def begins(self, recorded: RecordedRun, provenance: Mapping[str, str]) -> None: ...

    def data_made_anew(self, recorded: RecordedRun) -> None: ...

    def reported(self, recorded: RecordedRun, step: int) -> None: ...


def rerun(
    recorded: RecordedRun, specification: SweepSpecification, steps: int | None = None, observer: RerunObserver | None = None
) -> Reproduction:
    """Runs from the beginning to the recorded end, or for ``steps`` steps; on one GPU where the run had one, else on the CPU.

    A run that was stopped, interrupted or lost is run to its last recorded step. Errors of the run are its outcome.
    """
    observer = observer or RerunObserver()
    device = device_for(recorded)
    with tempfile.TemporaryDirectory(prefix="memsweep-reproduce-") as root, _threads(recorded, specification):
        request = request_for(recorded, specification, Path(root))
        prepared = provide_inputs(recorded, request, functools.partial(observer.data_made_anew, recorded))
        reproduction = Reproduction(provenance(prepared, device))
        observer.begins(recorded, reproduction.provenance)
        worker = RunWorker(device)
        worker.start(request)
        try:
            _advance(worker, recorded, reproduction, steps, observer)
        finally:
            worker.stop()
        reproduction.error = _with_places_of_the_sweep(reproduction.error, request, recorded)
        return reproduction


def device_for(recorded: RecordedRun) -> torch.device:
    """The first GPU for a run that had one, as its provenance or its metrics tell, if there is one here."""
    devices = recorded.provenance("device")
    measured = (metric for metrics in recorded.steps.values() for metric in metrics)
    had_gpu = devices[0] != "cpu" if devices else any(metric.startswith("vram/") for metric in measured)
    return torch.device("cuda", 0) if had_gpu and torch.cuda.is_available() else torch.device("cpu")


def request_for(recorded: RecordedRun, specification: SweepSpecification, root: Path) -> RunRequest:
    """The request of the run, with all its files under ``root``. No name of the record becomes a path."""
    objective, *others = specification.objectives
    return RunRequest(
        run=recorded.run,
        architecture=recorded.architecture,
        task=recorded.task,
        model=recorded.configuration["model"],
        task_values=recorded.configuration["task"],
        training=recorded.configuration["training"],
        seed=recorded.seed,
        artifacts=root / "artifacts",
        folder=root / "run",
        keep_checkpoints="none",
        objective_metric=objective.metric,
        objective_mode=objective.mode,
        other_objectives=tuple(other.metric for other in others),
    )


def _advance(
    worker: RunWorker, recorded: RecordedRun, reproduction: Reproduction, steps: int | None, observer: RerunObserver
) -> None:
    while True:
        reproduction.add(worker.advance())
        observer.reported(recorded, reproduction.last_step)
        if reproduction.outcome is not None or reproduction.last_step >= _enough(recorded):
            return
        if steps is not None and reproduction.last_step >= steps:
            reproduction.cut_short = True
            return


def _with_places_of_the_sweep(
    error: Mapping[str, str] | None, request: RunRequest, recorded: RecordedRun
) -> Mapping[str, str] | None:
    """A message that names a file names another place here than it did there."""
    if error is None:
        return None
    message = error["message"]
    for here, there in (
        (request.artifacts, recorded.folder.artifacts),
        (request.folder, attempt_folder(recorded.folder.trials / recorded.run, recorded.attempts)),
    ):
        message = message.replace(redact(str(here)), redact(str(there.resolve())))
    return {**error, "message": message}


def _enough(recorded: RecordedRun) -> int:
    """Where a run that shows no end of its own is left: one step more than recorded if it should have ended by then."""
    return recorded.last_step + recorded.ended_itself


@contextlib.contextmanager
def _threads(recorded: RecordedRun, specification: SweepSpecification) -> Iterator[None]:
    """As many torch threads as the run had."""
    before = torch.get_num_threads()
    known = next(iter(recorded.provenance("threads")), "")
    fit_threads(min(int(known), _MOST_THREADS) if known.isdecimal() else specification.resources.cpu)
    try:
        yield
    finally:
        torch.set_num_threads(before)
