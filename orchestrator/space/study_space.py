"""The space of one study: an entry (or one grid cell of it) with its fields, dimensions and hard constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from orchestrator.space.assignment import Assignment, Field, Infeasible
from orchestrator.space.constraint import Budget, HardConstraint
from orchestrator.space.value import Searched, searched_parts
from trainables.architecture import Architecture
from trainables.configuration import Configuration as TypedConfiguration
from trainables.counts import ParameterCounts
from trainables.task import Task
from trainables.training.configuration import TrainingConfiguration


@dataclass(frozen=True)
class Configuration:
    """One resolved configuration: every value of the model, the task and the training, defaults included."""

    model: dict[str, Any]
    task: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class StudySpace:
    """What one study searches. ``fields`` maps ``dk``, ``task.vocab_size``, ``training.lr`` to their values."""

    name: str
    entry: str
    architecture: Architecture
    task_type: type[Task]
    fields: Mapping[str, Field]
    constraints: tuple[HardConstraint, ...] = ()
    budget: Budget | None = None
    grid: Mapping[str, Any] = field(default_factory=dict)
    """The values of the grid dimensions that make this cell."""

    @cached_property
    def searched(self) -> dict[str, Searched]:
        """The dimensions by name, in the order in which they are suggested: what a guard looks at comes first."""
        found = {part.dimension.name: part for field in self.fields.values() for part in searched_parts(field.value)}
        return {name: part for guarded in (False, True) for name, part in found.items() if bool(part.guards) is guarded}

    def counts(self, assignment: Assignment) -> ParameterCounts:
        return self.architecture.count(self.model_namespace(assignment), self.task_namespace(assignment))

    def model_namespace(self, assignment: Assignment) -> Any:
        return assignment.namespace("", self.architecture.configuration)

    def task_namespace(self, assignment: Assignment) -> Any:
        return assignment.namespace("task.", self.task_type.configuration_type)

    def training_namespace(self, assignment: Assignment) -> Any:
        return assignment.namespace("training.", TrainingConfiguration)

    def meets_constraints(self, assignment: Assignment) -> Any:
        """Whether every hard constraint but the budget holds, derived values included (a truth value, or an array)."""
        met: Any = True
        for constraint in self.constraints:
            met = np.logical_and(met, constraint.holds(assignment))
        for name, described in self.fields.items():
            if described.derived:
                assignment.lookup(name)
        return np.logical_and(met, assignment.valid)

    def budget_count(self, assignment: Assignment) -> Any:
        """The count that the budget is about; 0 without a budget."""
        return self.counts(assignment).by_scope()[self.budget.scope] if self.budget else 0

    def is_feasible(self, drawn: Mapping[str, Any]) -> bool:
        """Whether one candidate meets every hard constraint."""
        assignment = Assignment(self.fields, drawn)
        try:
            if not bool(self.meets_constraints(assignment)):
                return False
            return self.budget is None or bool(self.budget.holds(self.budget_count(assignment)))
        except Infeasible:
            return False

    def active(self, name: str, drawn: Mapping[str, Any]) -> bool:
        """Whether dimension ``name`` is searched, given values for the dimensions that its guards look at."""
        try:
            return bool(self.searched[name].active(Assignment(self.fields, drawn)))
        except Infeasible:
            return False

    def resolve(self, drawn: Mapping[str, Any]) -> Configuration:
        """The complete configuration of one candidate."""
        assignment = Assignment(self.fields, drawn)
        scopes: dict[str, dict[str, Any]] = {"": {}, "task.": {}, "training.": {}}
        for name in self.fields:
            scope, _, leaf = name.rpartition(".")
            scopes[scope + "." if scope else ""][leaf] = plain(assignment.lookup(name))
        return Configuration(model=scopes[""], task=scopes["task."], training=scopes["training."])

    def model_and_task(self, drawn: Mapping[str, Any]) -> tuple[TypedConfiguration, TypedConfiguration]:
        """The typed configurations of one candidate's model and task.

        Raises:
            Infeasible: a value cannot be had.
            ConfigurationError: values do not fit together.
        """
        resolved = self.resolve(drawn)
        model = self.architecture.configuration.from_values(resolved.model)
        return model, self.task_type.configuration_type.from_values(resolved.task)


def plain(value: Any) -> Any:
    """NumPy scalars as the Python values that JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
