"""What a worker asks of a session, whatever the task: training in epochs, a memory measurement, a retrieval evaluation."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from trainables.training.request import RunRequest


@dataclass(frozen=True, slots=True)
class StepReport:
    """``progress`` counts from 1 in the task's unit; ``finished`` is the session's own word that its budget is reached."""

    progress: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    finished: bool = False
    improved: bool = False
    """The objective is better than at every earlier step."""


class Diverged(Exception):
    """A loss or an objective is no finite number; ``report`` holds what was measured, its metrics all finite."""

    def __init__(self, reason: str, report: StepReport) -> None:
        super().__init__(reason)
        self.report = report


def no_beat() -> None:
    """Where nobody watches whether a run is alive."""


class Session(abc.ABC):
    """One run in the making. Life: ``start``, perhaps ``load``, then ``step`` until a report says ``finished``.

    ``beat``, which a worker sets before ``start``, is to be called in every forward pass and every optimiser step: a run that is
    silent for too long is taken for dead.
    """

    def __init__(self, request: RunRequest, device: torch.device) -> None:
        self.request = request
        self.device = device
        self.beat: Callable[[], None] = no_beat

    measures_memory: ClassVar[bool] = False
    """Whether it measures the memory itself, in other processes, so that what this process takes is nobody's figure."""

    module: nn.Module
    """The module under study, from ``start`` on, where this process has it."""
    prepared: Path | None = None
    """The folder of prepared inputs, from ``start`` on; None where there are none."""
    stages: Mapping[str, Path] = {}
    """The folders of what the run shares with others besides, by name, from ``start`` on."""

    @property
    @abc.abstractmethod
    def progress(self) -> int:
        """Steps done, 0 before the first one."""

    @abc.abstractmethod
    def start(self) -> None:
        """Makes everything ready for the first step; the same seed gives the same numbers."""

    @abc.abstractmethod
    def once_metrics(self) -> dict[str, float]:
        """Metrics that do not change during the run, known after ``start``."""

    @abc.abstractmethod
    def step(self) -> StepReport:
        """One unit of progress; on a finished session it repeats the last report.

        Raises:
            Diverged: the training loss, the validation loss or an objective is NaN or infinite.
        """

    @abc.abstractmethod
    def report_again(self) -> StepReport:
        """The report of the last step, also after ``load``: equal to the one before the checkpoint was written."""

    def save_exhibits(self, folder: Path) -> None:  # noqa: B027 - most sessions have nothing to show
        """Writes what can be shown of a finished run, pictures and their data, into the existing ``folder``."""

    @abc.abstractmethod
    def save(self, path: Path) -> None:
        """Writes a checkpoint, complete or not at all."""

    @abc.abstractmethod
    def load(self, path: Path) -> None:
        """Continues from a checkpoint as if the session had never ended.

        Raises:
            CheckpointRefused: the file is unreadable or of another run; the session is unchanged.
        """
