"""A run that measures memory: one step, in a process of its own."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

import torch

from trainables.footprint.estimate import estimated_mib
from trainables.footprint.process import measure_in_process
from trainables.footprint.request import FootprintRequest
from trainables.prepared import prepare_data
from trainables.training.checkpoint import CheckpointRefused, read_checkpoint, write_checkpoint
from trainables.training.protocol import Session, StepReport


class FootprintSession(Session):
    """Measures one configuration once; on a finished session a step repeats its report.

    This process builds nothing: what the model takes is told by the process that measures it. The weights are random, also
    where a folder with a model is named, as they take the same memory.
    """

    measures_memory: ClassVar[bool] = True

    def start(self) -> None:
        self._resolved = self.request.resolved()
        self.prepared = prepare_data(self.request.artifacts, self._resolved.task_type, self._resolved.task)
        self._metrics: dict[str, float] = {}
        self._done = 0

    @property
    def progress(self) -> int:
        return self._done

    def once_metrics(self) -> dict[str, float]:
        resolved = self._resolved
        counts = resolved.architecture.count(resolved.model, resolved.task)
        estimated = estimated_mib(resolved.architecture, resolved.model, resolved.task)
        predicted = {"vram/predicted_mib": estimated} if self.device.type == "cuda" else {}
        return {
            **{f"params/{scope}": float(count) for scope, count in counts.by_scope().items()},
            "memory/estimated_mib": estimated,
            **predicted,
        }

    def step(self) -> StepReport:
        if not self._done:
            started = time.perf_counter()
            measured = measure_in_process(self._footprint_request(), self.beat)
            self._metrics = {**measured, "time/total_s": time.perf_counter() - started}
            self._done = 1
        return self.report_again()

    def report_again(self) -> StepReport:
        return StepReport(self._done, self._metrics, finished=bool(self._done), improved=bool(self._done))

    def save(self, path: Path) -> None:
        state = {"done": self._done, "metrics": self._metrics}
        write_checkpoint(path, state, fingerprint=self.request.fingerprint(), seed=self.request.seed)

    def load(self, path: Path) -> None:
        state = read_checkpoint(path, fingerprint=self.request.fingerprint(), seed=self.request.seed)
        done, metrics = state.get("done"), state.get("metrics")
        if type(done) is not int or done not in (0, 1) or not _are_figures(metrics):
            raise CheckpointRefused(f"{path} does not fit this run: it holds no figures of a measurement")
        self._done, self._metrics = done, metrics

    def _footprint_request(self) -> FootprintRequest:
        resolved = self._resolved
        return FootprintRequest(
            architecture=resolved.architecture.name,
            model=resolved.model.to_values(),
            task=resolved.task.to_values(),
            seed=self.request.seed,
            device=str(self.device),
            threads=torch.get_num_threads(),
        )


def _are_figures(found: Any) -> TypeGuard[dict[str, float]]:
    return isinstance(found, dict) and all(
        isinstance(name, str) and type(value) in (int, float) and math.isfinite(value) for name, value in found.items()
    )
