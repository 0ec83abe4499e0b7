"""Stages: what several runs share beyond data, such as a trained base model or a datastore, each made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from trainables.fingerprint import fingerprint
from trainables.memory import MemoryMonitor
from trainables.prepared import prepare_once
from trainables.training.protocol import no_beat

if TYPE_CHECKING:
    from trainables.architecture import Architecture
    from trainables.configuration import Configuration
    from trainables.task import Task


@dataclass(frozen=True)
class StageContext:
    """What a stage is made with."""

    artifacts: Path
    """Where everything that runs share is kept."""
    data: Path
    """The prepared data of the task."""
    device: torch.device
    beat: Callable[[], None] = no_beat
    """Called whenever the making has shown that it is alive."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The path of each file or folder that configurations refer to; empty on workers, which read none."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """The folders of the stages before this one, by name."""


@dataclass(frozen=True)
class Stage:
    """One shared input. ``make`` fills the existing empty folder; it is deterministic, from ``values`` and the stages before."""

    name: str
    title: str
    """For people: what it is, such as ``base model gpt``."""
    values: Mapping[str, Any]
    """Plain values that decide the content; runs that agree in them share the folder."""
    make: Callable[[Path, StageContext], None]
    reads_files: bool = False
    """Whether it is made from files that configurations refer to, so that the driver makes it, where they lie."""

    @property
    def folder_name(self) -> str:
        """The name of its folder among what is prepared."""
        return f"{self.name}-{fingerprint(self.values)}"


@runtime_checkable
class StagedModule(Protocol):
    """A module that takes something from stages."""

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        """Called once after building, on the module's device: the folders of its stages by name, and the data's.

        Raises:
            ValueError: what is there does not belong to this module.
        """


def stages_of(architecture: Architecture, model: Configuration, task_type: type[Task], task: Configuration) -> Sequence[Stage]:
    """The stages that runs of a configuration need, in the order in which they are made; none where weights do not matter."""
    return architecture.stages(model, task_type, task) if task_type.trains else ()


def make_stages(stages: Sequence[Stage], context: StageContext, elsewhere: Sequence[Path] = ()) -> dict[str, Path]:
    """The folders of the stages by name; what is missing is made, and its cost written into the manifest."""
    folders: dict[str, Path] = {}
    for stage in stages:
        folders[stage.name] = make_stage(stage, replace(context, folders=dict(folders)), elsewhere)
    return folders


def make_stage(stage: Stage, context: StageContext, elsewhere: Sequence[Path] = ()) -> Path:
    """The folder of one stage, whose ``context`` names the folders of those before it."""

    def make(folder: Path) -> dict[str, Any]:
        monitor, started = MemoryMonitor(context.device), time.perf_counter()
        monitor.start()
        try:
            stage.make(folder, context)
            cost = {"time/total_s": time.perf_counter() - started, **monitor.metrics()}
        finally:
            monitor.stop()
        return {"title": stage.title, "cost": cost}

    return prepare_once(context.artifacts, stage.name, stage.values, make, elsewhere)
