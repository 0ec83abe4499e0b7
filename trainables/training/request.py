"""The request for one run: all that a worker needs to know, as plain values that cross processes and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from trainables import registry
from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError
from trainables.fingerprint import fingerprint
from trainables.storage.run_place import ARTIFACTS, TRIALS, RunPlace
from trainables.task import Mode, Task, rules_of_pair
from trainables.training.attempts import attempt_folder, earlier_folders
from trainables.training.configuration import TrainingConfiguration, training_values

Keep = Literal["last", "best", "none"]


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """A request with every default filled in and every value checked."""

    architecture: Architecture
    task_type: type[Task]
    model: Configuration
    task: Configuration
    training: TrainingConfiguration

    def identity_values(self) -> dict[str, Any]:
        """What decides the numbers of the run, apart from its seed."""
        return {
            "architecture": self.architecture.name,
            "model": self.model.identity_values(),
            "task": self.task_type.name,
            "task_values": self.task.identity_values(),
            "training": self.training.identity_values(),
        }


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run: a configuration with one seed. Values that are not written keep their defaults."""

    run: str
    attempt: int = 1
    """How often the run was handed out, this time included."""
    architecture: str
    task: str
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    task_values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    artifacts: Path
    """Where prepared inputs of all runs are kept; what is missing is made there."""
    folder: Path | None = None
    """Where this attempt keeps its checkpoints; None keeps none. No other attempt writes there: the process of an earlier one may
    live on for minutes on a machine that was cut off from the network."""
    earlier: tuple[Path, ...] = ()
    """Where earlier attempts may have left a checkpoint, the latest first."""
    place: RunPlace | None = None
    """Where behind a URI the run keeps what must outlive its machine; None where its folders are shared by all machines."""
    keep_checkpoints: Keep = "last"
    checkpoint_seconds: float = 30.0
    """Time between two checkpoints while the run goes on; each step writes one where it is 0."""
    objective_metric: str | None = None
    objective_mode: Mode = "min"
    other_objectives: tuple[str, ...] = ()
    """Metrics besides the objective that must be finite too."""

    @property
    def label(self) -> str:
        """The run and the attempt: beats of an earlier attempt's process are not this one's."""
        return f"{self.run}#{self.attempt}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which :meth:`from_dict` makes an equal request."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["artifacts"] = str(self.artifacts)
        values["folder"] = None if self.folder is None else str(self.folder)
        values["earlier"] = [str(folder) for folder in self.earlier]
        values["place"] = None if self.place is None else self.place.to_dict()
        values["other_objectives"] = list(self.other_objectives)
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The request on this machine: one with a place has its folders in the working copy here, wherever they were there.

        Raises:
            StorageError: the place cannot be on this machine.
        """
        folder = values.get("folder")
        typed = {
            "artifacts": Path(values["artifacts"]),
            "folder": None if folder is None else Path(folder),
            "earlier": tuple(map(Path, values.get("earlier", ()))),
            "other_objectives": tuple(values.get("other_objectives", ())),
        }
        request = cls(**{**values, **typed, "place": None})
        return request if values.get("place") is None else request.placed(RunPlace.from_dict(values["place"]))

    def placed(self, place: RunPlace) -> Self:
        """With its place, and its folders in this machine's working copy; raises as :meth:`from_dict`."""
        home = place.here / TRIALS / place.run
        return dataclasses.replace(
            self,
            place=place,
            artifacts=place.here / ARTIFACTS,
            folder=attempt_folder(home, self.attempt),
            earlier=earlier_folders(home, self.attempt),
        )

    def resolved(self) -> ResolvedRun:
        """The typed configurations.

        Raises:
            LookupError: the architecture or the task is not registered.
            ConfigurationError: values that do not fit, broken rules of the pair included.
        """
        return self._resolved

    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for runs that differ in seed, names and folders only; raises as :meth:`resolved`."""
        return fingerprint(self._resolved.identity_values())

    @cached_property
    def _resolved(self) -> ResolvedRun:
        architecture = _find("architecture", self.architecture, registry.architectures())
        task_type = _find("task", self.task, registry.tasks())
        model = architecture.configuration.from_values(self.model)
        task = task_type.configuration_type.from_values(self.task_values)
        rules = rules_of_pair(architecture, task_type)
        broken: list[tuple[str | None, str]] = [(None, rule.message) for rule in rules if not rule.holds(model, task)]
        if broken:
            raise ConfigurationError(broken)
        training = TrainingConfiguration.from_values(training_values(task_type, self.training))
        return ResolvedRun(architecture, task_type, model, task, training)


def run_of(label: str) -> str:
    """The run of which ``label`` (:attr:`RunRequest.label`) names an attempt."""
    return label.rpartition("#")[0]


def _find(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise LookupError(f"there is no {what} {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]
