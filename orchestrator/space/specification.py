"""A sweep as it was read: entries with their study spaces, and the sections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.document import Source
from orchestrator.space.sections import (
    NAME_PATTERN,
    NAME_RULE,
    CheckpointsConfiguration,
    MeasuredConfiguration,
    ResourcesConfiguration,
    SchedulerConfiguration,
    SearchConfiguration,
    TrackingConfiguration,
)
from orchestrator.space.study_space import StudySpace
from trainables.files import NamedFile
from trainables.task import Mode, Task


@dataclass(frozen=True)
class Objective:
    """What trials are compared by."""

    metric: str
    mode: Mode
    at: Literal["last", "best"]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "maximize" if self.mode == "max" else "minimize"

    def value_of(self, curve: Mapping[int, float], metrics: Mapping[str, float]) -> float | None:
        """The value of a run with this curve of the objective: at its last step, or its best; without a curve, what was
        measured once."""
        if not curve:
            return metrics.get(self.metric)
        if self.at == "last":
            return curve[max(curve)]
        return max(curve.values()) if self.mode == "max" else min(curve.values())


@dataclass(frozen=True)
class EntrySpecification:
    """One row of every table: an architecture with its fields, split into the cells of its grid dimensions."""

    name: str
    architecture: str
    cells: tuple[StudySpace, ...]


class WrongName(ValueError):
    """This cannot be the name of a sweep."""


@dataclass(frozen=True)
class SweepSpecification:
    """Everything that a search space says."""

    name: str
    source: Source
    document: Mapping[str, Any]
    """The document as plain values, overrides included."""
    changed: bool
    """Whether the command line changed it."""
    task_type: type[Task]
    entries: tuple[EntrySpecification, ...]
    objectives: tuple[Objective, ...]
    measured: tuple[MeasuredConfiguration, ...]
    search: SearchConfiguration
    scheduler: SchedulerConfiguration
    resources: ResourcesConfiguration
    checkpoints: CheckpointsConfiguration
    tracking: TrackingConfiguration
    require_holds_for: Mapping[str, tuple[str, ...]]
    """Each ``require`` line with the entries that have all its names."""
    named_files: Mapping[str, NamedFile] = field(default_factory=dict)
    """The files that fields name, by the text that was written."""

    @property
    def files(self) -> dict[str, Path]:
        """The path of each file by its reference."""
        return {named.reference: named.path for named in self.named_files.values()}

    @property
    def objective(self) -> Objective:
        """The first one: stopping rules act on it, and tables are ordered by it."""
        return self.objectives[0]

    @property
    def objective_names(self) -> list[str]:
        """The metrics of all objectives, the first one first."""
        return [objective.metric for objective in self.objectives]

    @property
    def spaces(self) -> list[StudySpace]:
        """The study spaces of all entries, in order."""
        return [cell for entry in self.entries for cell in entry.cells]

    @property
    def trials_per_study(self) -> int | None:
        """None: as many as the study has configurations."""
        if self.search.trials is None and self.search.sampler != "grid":
            return 20
        return self.search.trials


def renamed(specification: SweepSpecification, name: str | None) -> SweepSpecification:
    """The same sweep under another name, where one is given.

    Raises:
        WrongName: it does not match the pattern of names.
    """
    if name is None:
        return specification
    if not re.fullmatch(NAME_PATTERN, name):
        raise WrongName(f"`{name}` cannot be a name: {NAME_RULE}")
    return replace(specification, name=name)
