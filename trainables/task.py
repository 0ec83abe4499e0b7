"""What a task is to the rest of the product: its configuration, prepared data, batches, a loss and an evaluation."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from trainables.architecture import Architecture, DataKind
from trainables.configuration import Configuration, Rule

Mode = Literal["min", "max"]
"""Whether smaller or larger values of a metric are better."""


class TokenModule(Protocol):
    """What the module of a token architecture offers to a token task."""

    output_head: Callable[[Tensor], Tensor]
    """(..., D) hidden states to (..., V) logits."""

    def hidden_states(self, ids: Tensor) -> Tensor:
        """(B, T) int64 token ids to (B, T, D) normalised final hidden states."""


class SeriesModule(Protocol):
    """What the module of a series architecture offers to a series task: it is called with (B, T, C) windows of C channels.

    It returns (B, P, C): for each of the last P positions its prediction of the value that follows; P is T where every position
    predicts its next value, 1 where the window's end alone does. After a call in training mode, ``auxiliary_loss`` (a scalar
    tensor), where a module has one, is added to the training loss.
    """

    def __call__(self, windows: Tensor) -> Tensor: ...


@runtime_checkable
class CodebookModule(Protocol):
    """What a module that reads from codebooks offers besides."""

    codebook_sizes: tuple[int, ...]
    """Rows of each codebook that inputs choose from."""

    def chosen_codes(self, windows: Tensor) -> list[Tensor]:
        """For (B, T, C) windows the row that weighs most: of each codebook a (B, T) int64 tensor of indices."""


@dataclass(frozen=True, slots=True)
class Target:
    """Reaching ``threshold`` of ``metric`` counts as solving the task (``time/to_target_s``, ``solved_epoch``)."""

    metric: str
    threshold: float
    mode: Mode

    def reached(self, value: float) -> bool:
        return value >= self.threshold if self.mode == "max" else value <= self.threshold


def metric_of_part(metric: str, part: str) -> str:
    """``val/acc_rank`` of the part ``boolq`` is ``val/boolq/acc_rank``: some trackers keep metrics as files, and could not have a
    file and a folder of one name."""
    start, _, leaf = metric.rpartition("/")
    return f"{start}/{part}/{leaf}"


class Task(abc.ABC):
    """One task. Subclasses are registered with :func:`register_task` and live in one file each.

    Life: ``prepare`` makes the data once per sweep into a folder; a worker then runs the task's ``session``. Tasks on which
    modules are trained in epochs are :class:`EpochTask`.
    """

    name: ClassVar[str]
    kind: ClassVar[DataKind]
    configuration_type: ClassVar[type[Configuration]]
    metrics: ClassVar[Mapping[str, Mode]]
    """Names of the metrics that are measured in each step of a run, each with ``min`` or ``max``."""
    final_metrics: ClassVar[Mapping[str, Mode]] = {}
    """Names of the metrics that are measured once, at a run's end, each with ``min`` or ``max``."""
    reported_metrics: ClassVar[tuple[str, ...]] = ()
    """Metrics that tables show beside the objectives."""
    baseline_ratios: ClassVar[Mapping[str, str]] = {}
    """Of a metric the one that is its ratio to a baseline, which pictures show as a line."""
    baselines: ClassVar[Mapping[str, str]] = {}
    """Of a metric the one that says the same of what runs are compared with: a line of its own in tables and pictures by length,
    and, for :attr:`part_metrics`, in tables by part."""
    length_metrics: ClassVar[Mapping[str, tuple[str | tuple[str, ...], ...]]] = {}
    """Of each field that is a length of sequences the metrics that are measured at it, which a report shows by length; of names
    in a tuple of their own it shows the first that runs have."""
    position_metrics: ClassVar[Mapping[str, str]] = {}
    """Metrics that are numbered by position, such as ``val/segment_loss`` for ``val/segment_loss/00`` and so on, each with the
    field whose length the positions divide into equal parts; a report draws them along the sequence."""
    part_metrics: ClassVar[Mapping[str, str]] = {}
    """By what the data consist of, such as ``task``, the metric that is also measured of each part (:func:`metric_of_part`); a
    report has a table with a column for each part."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Values of the training configuration that differ from its own defaults for this task."""
    trains: ClassVar[bool] = True
    """Whether the section ``training`` means anything to this task."""
    progress_unit: ClassVar[str] = "epoch"
    session: ClassVar[type[Any] | None] = None
    """The session that runs this task; None: training in epochs (``trainables.training.session.TrainingSession``)."""

    @classmethod
    def measures(cls, metric: str, architecture: Architecture) -> bool:
        """Whether a run of ``architecture`` can have ``metric``, which is one of the task's."""
        return True

    @classmethod
    def why_unmeasured(cls, metric: str, configuration: Any) -> str | None:
        """Why runs of ``configuration`` do not have ``metric``, which is one of the task's, with the cure; None where they do."""
        return None

    @classmethod
    def pair_rules(cls, architecture: Architecture) -> tuple[Rule, ...]:
        """Rules over (model, task) that ``architecture`` must meet on this task, besides its own."""
        return ()

    @classmethod
    def predicted_mib(cls, architecture: Architecture, model: Any, task: Any) -> float | None:
        """Expected peak memory of a run in MiB; None where it is that of training in epochs."""
        return None

    @classmethod  # noqa: B027 - most tasks need nothing besides
    def preload(cls) -> None:
        """Imports what a run will need at its end, so that it counts to the memory of the process and to no run's."""

    @classmethod  # noqa: B027 - most tasks have nothing outside their configuration
    def inspect(cls, configuration: Any) -> None:
        """Looks at what lies outside the configuration, such as files, before anything starts.

        Raises:
            ConfigurationError: what does not fit, each problem with the name of its field.
        """

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """The values that decide the prepared data; runs that agree in them share a folder."""
        values: dict[str, Any] = configuration.identity_values()
        return values

    @classmethod
    @abc.abstractmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Writes the data into the existing empty ``folder``; deterministic, from ``configuration`` and the files it names."""

    @classmethod
    def epoch_tokens(cls, configuration: Any) -> int | None:
        """Positions that a module processes in an epoch of training, before there are data; None where that is not known."""
        return None

    @classmethod
    def windows_per_example(cls, configuration: Any) -> int:
        """Sequences in one example of training, for the memory estimate."""
        return 1


class EpochTask(Task):
    """A task on which modules are trained in epochs: batches, a loss, an evaluation.

    A worker constructs it on the folder of its data (memory-mapped, nothing copied).
    """

    def __init__(self, configuration: Any, folder: Path, device: torch.device) -> None:
        self.configuration = configuration
        self.folder = folder
        self.device = device

    def adapt_to(self, module: nn.Module) -> None:
        """Called once, before anything else is asked: a task may give some modules other batches."""

    @property
    @abc.abstractmethod
    def examples_per_epoch(self) -> int:
        """Number of training examples in an epoch."""

    @property
    @abc.abstractmethod
    def tokens_per_example(self) -> int:
        """Positions that a module processes for one example, for throughput figures."""

    @property
    def tokens_per_evaluation(self) -> int | None:
        """Positions that a module processes in :meth:`evaluate`; None where that is not known."""
        return None

    @property
    def target(self) -> Target | None:
        return None

    @abc.abstractmethod
    def train_batches(self, batch_size: int, order: Tensor) -> Iterator[Any]:
        """Batches on the device, in the given order (int64, one index an example); the last one may be smaller."""

    @abc.abstractmethod
    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        """The scalar training loss of one batch."""

    @abc.abstractmethod
    def evaluate(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """The metrics on the validation data; the caller has set evaluation mode and disabled gradients."""

    def evaluate_finally(self, module: nn.Module, batch_size: int) -> dict[str, float]:
        """Metrics that are measured once, when a run has reached its end; called as :meth:`evaluate` is."""
        return {}

    def save_exhibits(self, module: nn.Module, folder: Path) -> None:
        """Writes what can be shown of a module at the end of its run, pictures and their data, into the existing ``folder``."""


def rules_of_pair(architecture: Architecture, task_type: type[Task]) -> tuple[Rule, ...]:
    """All rules over (model, task) of runs of ``architecture`` on a task: its own, and what the task asks of it."""
    return (*architecture.pair_rules, *task_type.pair_rules(architecture))


_TASKS: dict[str, type[Task]] = {}


def register_task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Registers the decorated task class under ``name``; the first line of its docstring is its summary."""

    def register(cls: type[Task]) -> type[Task]:
        if name in _TASKS:
            raise ValueError(f"task {name!r} is registered twice")
        cls.name = name
        _TASKS[name] = cls
        return cls

    return register


def registered_tasks() -> dict[str, type[Task]]:
    return _TASKS
