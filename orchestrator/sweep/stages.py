"""The stages that the runs of a sweep share: which there are, and that each is made once, before the runs start."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.space.assignment import Infeasible
from orchestrator.space.dimension import Dimension
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import value_at, values_at_part
from orchestrator.space.study_space import StudySpace
from orchestrator.space.task_values import dimensions_of
from trainables.configuration import Configuration, ConfigurationError
from trainables.fingerprint import fingerprint
from trainables.prepared import MANIFEST, read_manifest
from trainables.stages import Stage, stages_of
from trainables.task import rules_of_pair

_MOST_VALUES = 64
"""Of a longer dimension so many values, evenly spaced, are looked at; what that misses is made by the first run that needs it."""
_MOST_COMBINATIONS = 4096


@dataclass(frozen=True)
class SharedStage:
    """One stage with a configuration of a run that needs it."""

    space: StudySpace
    model: Configuration
    task: Configuration
    stage: Stage

    @property
    def folder_name(self) -> str:
        """The name of its folder among what is prepared."""
        return f"{self.stage.name}-{fingerprint(self.stage.values)}"


def shared_stages(specification: SweepSpecification) -> list[SharedStage]:
    """Every stage of the sweep's runs once, each behind those that it is made from."""
    found: dict[str, SharedStage] = {}
    for space in specification.spaces:
        for model, task in _configurations(space):
            for stage in stages_of(space.architecture, model, space.task_type, task):
                shared = SharedStage(space, model, task, stage)
                found.setdefault(shared.folder_name, shared)
    return list(found.values())


def missing_stages(shared: Iterable[SharedStage], artifacts: Path) -> list[SharedStage]:
    """Those that are not under ``artifacts``."""
    return [one for one in shared if not (artifacts / one.folder_name / MANIFEST).is_file()]


def made_stages(artifacts: Path, known: Container[str]) -> Iterator[dict[str, Any]]:
    """An event for each stage under ``artifacts`` that is not ``known``: what it is, what making it cost, and its size."""
    for folder in sorted(path.parent for path in artifacts.glob(f"*/{MANIFEST}") if path.parent.name not in known):
        manifest = read_manifest(folder)
        if "cost" in manifest:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            told = {"title": manifest["title"], "metrics": manifest["cost"], "bytes": size}
            yield {"kind": "prepared", "stage": folder.name, **told}


def _configurations(space: StudySpace) -> Iterator[tuple[Configuration, Configuration]]:
    """A configuration for each combination of the values on which stages depend, everything else in its middle."""
    dimensions = {name: part.dimension for name, part in space.searched.items()}
    low, middle, high = (values_at_part(dimensions, halves) for halves in range(3))
    first = next(_drawn(space, [middle, low, high]), None)
    if first is None or not stages_of(space.architecture, first[0], space.task_type, first[1]):
        return
    listed = {name: _values(dimension) for name, dimension in _dimensions(space, *first).items()}
    if math.prod(map(len, listed.values())) > _MOST_COMBINATIONS:
        yield first
        return
    products = (dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values()))
    yield from _drawn(space, ({**middle, **values} for values in products))


def _drawn(space: StudySpace, candidates: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Configuration, Configuration]]:
    """The typed configurations of the candidates that a run could have, whatever the budget says."""
    for drawn in candidates:
        try:
            model, task = space.model_and_task(drawn)
        except (Infeasible, ConfigurationError):
            continue
        if all(rule.holds(model, task) for rule in rules_of_pair(space.architecture, space.task_type)):
            yield model, task


def _dimensions(space: StudySpace, model: Configuration, task: Configuration) -> dict[str, Dimension]:
    """The dimensions of the task, and of those fields of the model that stages look at."""
    looking = _Looking(model)
    stages_of(space.architecture, looking, space.task_type, task)  # type: ignore[arg-type]
    fields = [name for name in space.fields if name.startswith("task.") or name in looking.seen]
    return dimensions_of(space, fields)


def _values(dimension: Dimension) -> list[Any]:
    last = dimension.lattice_size - 1
    return [value_at(dimension, int(index)) for index in np.unique(np.linspace(0, last, _MOST_VALUES).round())]


class _Looking:
    """A configuration that notes which of its fields are looked at."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.seen.add(name)
        return getattr(self._configuration, name)
