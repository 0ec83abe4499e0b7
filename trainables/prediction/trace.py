"""Follows the first steps of a run on a pretended GPU: two optimiser steps and the beginning of an evaluation."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from trainables.prediction.allocator import CachingAllocator
from trainables.prediction.pretended import CUDA, META, PretendedCuda
from trainables.prediction.tracker import DeviceTracker, EnoughSeen
from trainables.shared_training import STAGE
from trainables.stages import StagedModule, stages_of
from trainables.task import EpochTask
from trainables.training.configuration import TrainingConfiguration
from trainables.training.request import ResolvedRun

OPTIMISER_STEPS = 2
"""The first one makes the moments; the second one has them."""
_LATE = 0.999
"""The part of all training that lies behind the steps: modules that train otherwise at first need most in the end."""
_REPETITION = {"least": 400, "factor": 2, "most": 10_000}
"""How long an evaluation is followed, see :meth:`DeviceTracker.stop_when_repeated`."""


class NotTraceable(Exception):
    """Why a run cannot be followed without a GPU."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``operations`` at most are followed; ``workspace`` is the size of a workspace of cuBLAS in bytes."""

    operations: int
    workspace: int


@dataclass(frozen=True, slots=True)
class Trace:
    allocator: CachingAllocator
    """After the first steps of a run."""
    is_whole: bool
    """Whether its evaluation was followed until it repeated itself; else its peak may be higher."""


def trace_run(resolved: ResolvedRun, data: Path, limits: Limits) -> Trace:
    """Follows a run on the prepared ``data``.

    Nothing is computed: tensors on the device have no numbers, and the host's stay as small as batches. The states of the random
    generators are as before.

    Raises:
        NotTraceable: the run needs more than its data, or weights that depend on a device.
        TooManyOperations: there are more than ``limits`` allow.
        Exception: whatever modules and tasks raise where numbers are missing.
    """
    _require_traceable(resolved)
    tracker = DeviceTracker("meta", as_gpu=limits.workspace, limit=limits.operations)
    with _same_randomness(), torch.inference_mode(False), torch.enable_grad(), PretendedCuda(), tracker:
        _Run(resolved, data, tracker).follow()
    return Trace(tracker.allocator, not tracker.cut_short)


def _require_traceable(resolved: ResolvedRun) -> None:
    if not issubclass(resolved.task_type, EpochTask) or resolved.task_type.session is not None:
        raise NotTraceable(f"{resolved.task_type.name} does not train in epochs")
    if getattr(resolved.model, "quantize", None) is not None:
        raise NotTraceable("quantised weights are made by the device")
    stages = stages_of(resolved.architecture, resolved.model, resolved.task_type, resolved.task)
    others = sorted(stage.name for stage in stages if stage.name != STAGE)
    if others:
        raise NotTraceable(f"it reads what other stages make: {', '.join(others)}")


class _Run:
    """Does what a training session does, on tensors without numbers."""

    def __init__(self, resolved: ResolvedRun, data: Path, tracker: DeviceTracker) -> None:
        self._training, self._tracker = resolved.training, tracker
        task_type = cast(type[EpochTask], resolved.task_type)
        self._task = task_type(resolved.task, data, CUDA)
        with META:
            self._module = resolved.architecture.build(resolved.model, resolved.task)
        self._module.to(CUDA)
        if isinstance(self._module, StagedModule) and not _needs_stages(resolved):
            self._module.attach({}, data)
        self._task.adapt_to(self._module)
        self._stepper = Stepper(self._training, self._module, tracker)

    def follow(self) -> None:
        if self._training.epochs:
            self._train()
        self._evaluate()

    def _train(self) -> None:
        self._module.train()
        tell = getattr(self._module, "training_progress", None)
        if tell is not None:
            tell(_LATE)
        group = self._training.gradient_accumulation
        wanted = OPTIMISER_STEPS * min(group, 2)
        for index, batch in enumerate(itertools.islice(self._batches(), wanted)):
            self._stepper.step(self._task, batch, last=group == 1 or index % 2 == 1)

    def _batches(self) -> Iterator[Any]:
        """Batch after batch, also of data that have fewer than are wanted."""
        while True:
            yield from self._task.train_batches(self._training.batch_size, torch.arange(self._task.examples_per_epoch))

    def _evaluate(self) -> None:
        self._module.eval()
        self._tracker.stop_when_repeated(**_REPETITION)
        with torch.inference_mode(), contextlib.suppress(EnoughSeen):
            self._task.evaluate(self._module, self._training.eval_batch_size)


class Stepper:
    """Training as a session does it; in the place of the fused optimiser, whose kernel needs nothing else, what it keeps."""

    def __init__(self, training: TrainingConfiguration, module: nn.Module, tracker: DeviceTracker) -> None:
        self._training, self._module, self._tracker = training, module, tracker
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._state: dict[Tensor, tuple[Tensor, ...]] = {}

    def step(self, task: EpochTask, batch: Any, *, last: bool) -> None:
        """Forward and backward of a batch; the optimiser steps behind the ``last`` one of a group."""
        loss = task.loss(self._module, batch)
        if self._training.gradient_accumulation > 1:
            loss = loss / self._training.gradient_accumulation
        self._tracker.in_backward = True
        try:
            torch.autograd.backward(loss)
        finally:
            self._tracker.in_backward = False
        if last:
            self._optimise()

    @torch.no_grad()
    def _optimise(self) -> None:
        learned = [parameter for parameter in self._parameters if parameter.grad is not None]
        if self._training.clip_grad is not None and learned:
            torch.stack([torch.linalg.vector_norm(cast(Tensor, parameter.grad)) for parameter in learned]).norm()
        for parameter in learned:
            if parameter not in self._state:
                moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
                self._state[parameter] = (torch.zeros((), device=parameter.device), *moments)
            parameter.grad = None


def _needs_stages(resolved: ResolvedRun) -> bool:
    return bool(stages_of(resolved.architecture, resolved.model, resolved.task_type, resolved.task))


@contextlib.contextmanager
def _same_randomness() -> Iterator[None]:
    """Draws of the host's generators inside are the same each time, and nothing of them is seen outside."""
    before: Mapping[str, Any] = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
    torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        torch.set_rng_state(before["torch"])
        np.random.set_state(before["numpy"])
        random.setstate(before["python"])
