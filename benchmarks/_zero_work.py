"""An architecture and a task that do nothing, so that what is measured is what a sweep costs beside its trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from trainables.architecture import register_architecture, registered_architectures
from trainables.configuration import Configuration, hyperparameter
from trainables.counts import ParameterCounts
from trainables.task import Task, register_task, registered_tasks
from trainables.training.checkpoint import read_checkpoint, write_checkpoint
from trainables.training.protocol import Session, StepReport

NAME = "zero_work"


@dataclass(frozen=True, kw_only=True)
class ZeroWorkConfiguration(Configuration):
    width: int = hyperparameter(1, "any number", minimum=1)
    height: int = hyperparameter(1, "any number", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ZeroWorkTaskConfiguration(Configuration):
    pass


class ZeroWork(nn.Module):
    """No parameters."""

    def __init__(self, model: ZeroWorkConfiguration, task: Any) -> None:
        super().__init__()

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        return ParameterCounts(block=0 * model.width)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        return 0 * model.width


class ZeroWorkSession(Session):
    """Reports a number that depends on the configuration alone, in each of ``training.epochs`` epochs."""

    def start(self) -> None:
        self.module = nn.Module()
        self._epoch = 0
        self._epochs = self.request.resolved().training.epochs
        digest = hashlib.sha256(self.request.fingerprint().encode()).digest()
        self._loss = int.from_bytes(digest[:4], "big") / 2**32

    @property
    def progress(self) -> int:
        return self._epoch

    def once_metrics(self) -> dict[str, float]:
        return {"params/total": 0.0}

    def step(self) -> StepReport:
        self._epoch = min(self._epoch + 1, self._epochs)
        self.beat()
        return self.report_again()

    def report_again(self) -> StepReport:
        return StepReport(self._epoch, {"val/loss": self._loss}, self._epoch == self._epochs)

    def save(self, path: Path) -> None:
        write_checkpoint(path, {"epoch": self._epoch}, fingerprint=self.request.fingerprint(), seed=self.request.seed)

    def load(self, path: Path) -> None:
        self._epoch = read_checkpoint(path, fingerprint=self.request.fingerprint(), seed=self.request.seed)["epoch"]


class ZeroWorkTask(Task):
    """Nothing to learn."""

    kind = NAME
    configuration_type = ZeroWorkTaskConfiguration
    metrics = {"val/loss": "min"}  # noqa: RUF012
    session = ZeroWorkSession
    examples_per_epoch = 1
    tokens_per_example = 1

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Nothing."""

    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[Any]:
        return iter(())

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        raise NotImplementedError("nothing is trained")

    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        raise NotImplementedError("nothing is evaluated")


def register() -> None:
    """Ray calls this in every worker process (``worker_process_setup_hook``); who launches a sweep calls it in the driver."""
    if NAME not in registered_architectures():
        register_architecture(NAME, configuration=ZeroWorkConfiguration, kind=NAME)(ZeroWork)
        register_task(NAME)(ZeroWorkTask)


def unregister() -> None:
    """As if it had never been there; tests look at all that are registered."""
    registered_architectures().pop(NAME, None)
    registered_tasks().pop(NAME, None)


def zero_work_space(trials: int, name: str = "scale", concurrency: int = 2, epochs: int = 1) -> dict[str, Any]:
    """A search space of ``trials`` random trials; two dimensions of the architecture and one of training."""
    return {
        "name": name,
        "task": {"name": NAME},
        "architectures": {NAME: {"width": {"int": [1, 4096]}, "height": {"int": [1, 4096]}}},
        "training": {"lr": {"float": [1e-4, 1e-1], "log": True}, "epochs": epochs},
        "objective": {"metric": "val/loss"},
        "search": {"sampler": "random", "trials": trials, "seed": 0},
        "resources": {"concurrency": concurrency},
        "checkpoints": {"keep": "none"},
    }
