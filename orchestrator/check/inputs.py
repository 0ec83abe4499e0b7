"""What a task and architectures say of what their configurations name outside, before anything runs."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.document import Diagnostics, Node, Position, child_path
from orchestrator.space.assignment import Assignment, Infeasible
from orchestrator.space.dimension import ChoiceDimension, Dimension
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import value_at, values_at_part
from orchestrator.space.study_space import StudySpace
from orchestrator.space.task_values import data_configurations, task_configuration, task_dimensions, value_products
from orchestrator.space.value import searched_parts
from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.file_fields import FileGone, named_references, with_paths
from trainables.files import split_reference
from trainables.fingerprint import fingerprint
from trainables.task import Task

Problems = list[tuple[str | None, str]]
_MOST_CHOICES = 64
"""Of a longer list of choices both ends are looked at."""
_MOST_TOGETHER = 64
"""So many combinations are all looked at."""


def inspect_inputs(specification: SweepSpecification, diagnostics: Diagnostics, root: Node | None) -> None:
    """Adds what ``Task.inspect`` has against the configurations of :func:`inspected_configurations`, at the fields concerned,
    and ``Architecture.inspect`` against those of :func:`inspected_pairs`.

    A file that is gone is no mistake here: its data may have been made.
    """
    _inspect_tasks(specification, diagnostics, root)
    _inspect_models(specification, diagnostics, root)


def _inspect_tasks(specification: SweepSpecification, diagnostics: Diagnostics, root: Node | None) -> None:
    seen: dict[str, Problems] = {}
    for space in specification.spaces:
        configurations = list(inspected_configurations(space))
        for configuration in configurations:
            key = fingerprint(configuration.to_values())
            if key not in seen:
                seen[key] = _problems(specification.task_type, configuration, specification.files)
            for field, message in seen[key]:
                node, path = _place(root, space, field)
                diagnostics.add(node, path, message)
        _demand_objectives(specification, space, configurations, diagnostics, root)
        _demand_listed_data(space, configurations, diagnostics, root)


def _inspect_models(specification: SweepSpecification, diagnostics: Diagnostics, root: Node | None) -> None:
    seen: dict[str, Problems] = {}
    for space in specification.spaces:
        for model, task in inspected_pairs(space):
            key = fingerprint({"architecture": space.architecture.name, "model": model.to_values(), "task": task.to_values()})
            if key not in seen:
                inspect = functools.partial(_inspect_pair, space.architecture, model, task, specification.files)
                seen[key] = _found_problems(inspect, named_references(model))
            for field, message in seen[key]:
                node, path = _model_place(root, space, field)
                diagnostics.add(node, path, message)


def inspected_pairs(space: StudySpace) -> Iterator[tuple[Configuration, Configuration]]:
    """Configurations of model and task: all combinations of the model's files and nested models, where they are few, each
    with the lower ends of everything else (where no trial can have that, the middle or the upper ones; where it can have none,
    the lower ones all the same, so that it is told why)."""
    wanted = {name: read for name, read in space.fields.items() if "." not in name and _lies_outside(read.hyperparameter)}
    chosen = {part.dimension.name: part.dimension for read in wanted.values() for part in searched_parts(read.value)}
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    looked_at = {name: _looked_at(dimension) for name, dimension in chosen.items()}
    if math.prod(map(len, looked_at.values())) > _MOST_TOGETHER:
        looked_at = {name: indices[:1] for name, indices in looked_at.items()}
    for drawn in value_products(looked_at, chosen):
        tried = [(halves, True) for halves in range(3)] + [(0, False)]
        found = (_pair(space, {**values_at_part(dimensions, halves), **drawn}, strictly) for halves, strictly in tried)
        yield from itertools.islice((pair for pair in found if pair is not None), 1)


def _lies_outside(field: Hyperparameter) -> bool:
    return field.file or field.nested is not None


def _pair(space: StudySpace, drawn: Mapping[str, Any], strictly: bool) -> tuple[Configuration, Configuration] | None:
    """None where no trial can have these values; of hard constraints it is only ``strictly`` that they must hold."""
    assignment = Assignment(space.fields, drawn)
    try:
        if strictly and not bool(space.meets_constraints(assignment)):
            return None
        return space.model_and_task(drawn)
    except (Infeasible, ConfigurationError):
        return None


def _inspect_pair(architecture: Architecture, model: Configuration, task: Configuration, files: Mapping[str, Path]) -> None:
    architecture.inspect(with_paths(model, files), with_paths(task, files))


def inspected_configurations(space: StudySpace) -> Iterator[Configuration]:
    """The task's configurations with each choice and both ends of each range: all combinations where they are few.

    Else the lower ends of all ranges (where no trial can have that, the middle or the upper ones), then one dimension at a time
    varied.
    """
    dimensions = task_dimensions(space)
    looked_at = {name: _looked_at(dimension) for name, dimension in dimensions.items()}
    together: list[Configuration] = []
    if math.prod(map(len, looked_at.values())) <= _MOST_TOGETHER:
        drawn = value_products(looked_at, dimensions)
        together = [found for found in (task_configuration(space, values) for values in drawn) if found is not None]
    yield from together or _one_at_a_time(space, dimensions, looked_at)


def _looked_at(dimension: Dimension) -> list[int]:
    few = isinstance(dimension, ChoiceDimension) and dimension.size <= _MOST_CHOICES
    return list(range(dimension.size)) if few else sorted({0, dimension.lattice_size - 1})


def _one_at_a_time(
    space: StudySpace, dimensions: Mapping[str, Dimension], looked_at: Mapping[str, list[int]]
) -> Iterator[Configuration]:
    for halves in range(3):
        base = values_at_part(dimensions, halves)
        configuration = task_configuration(space, base)
        if configuration is not None:
            break
    else:
        return
    yield configuration
    for name, dimension in dimensions.items():
        for index in looked_at[name]:
            varied = task_configuration(space, {**base, name: value_at(dimension, index)})
            if varied is not None:
                yield varied


def _problems(task_type: type[Task], configuration: Configuration, files: Mapping[str, Path]) -> Problems:
    return _found_problems(lambda: task_type.inspect(with_paths(configuration, files)), named_references(configuration))


def _found_problems(inspect: Callable[[], None], references: Mapping[str, str]) -> Problems:
    named = {name: split_reference(text)[0] for name, text in references.items()}
    about = next(iter(named.values()), "")
    try:
        inspect()
    except FileGone:
        return []
    except ConfigurationError as error:
        return [(field, _told(field, named.get(str(field), about), message)) for field, message in error.problems]
    return []


def _told(field: str | None, file: str, message: str) -> str:
    """With the field, and the file that it names or is about."""
    about = f" ({file})" if file else ""
    return f"`{field}`{about}: {message}" if field else message


def _demand_objectives(
    specification: SweepSpecification,
    space: StudySpace,
    configurations: Iterable[Configuration],
    diagnostics: Diagnostics,
    root: Node | None,
) -> None:
    """Without an objective's value no trial could be more than a failure."""
    for number, objective in enumerate(specification.objectives):
        found = (specification.task_type.why_unmeasured(objective.metric, task) for task in configurations)
        reason = next((why for why in found if why is not None), None)
        if reason is not None:
            node, path = _objective_place(root, number)
            diagnostics.add(node, path, f"runs of `{space.name}` have no `{objective.metric}`, which is an objective", reason)


def _objective_place(root: Node | None, number: int) -> tuple[Node | Position, str]:
    node, path = root.get("objective") if root else None, "objective"
    if node is not None and node.items:
        node, path = node.items[number], child_path(path, number)
    metric = node.get("metric") if node else None
    return metric or node or Position(), path


def _demand_listed_data(
    space: StudySpace, configurations: Iterable[Configuration], diagnostics: Diagnostics, root: Node | None
) -> None:
    """Workers read no files, so all data that are made from files must be known before they start."""
    named = [name for configuration in configurations for name in named_references(configuration)]
    if named and data_configurations(space) is None:
        node, path = _place(root, space, named[0])
        message = f"the data of `{space.name}` are made from a file before runs start, and they are too many to be listed"
        hint = "search the fields of the task that decide the data over few choices, or give them constants"
        diagnostics.add(node, path, message, hint)


def _model_place(root: Node | None, space: StudySpace, field: str | None) -> tuple[Node | Position, str]:
    """Where a field of the model stands, or the innermost part of it; else the entry."""
    architectures = root.get("architectures") if root else None
    entry, path = architectures.get(space.entry) if architectures else None, child_path("architectures", space.entry)
    name, *inner = field.split(".") if field else [""]
    for section, place in ((entry, path), (root.get("model") if root else None, "model")):
        node = section.get(name) if section else None
        if node is not None:
            return _inside(node, child_path(place, name), inner)
    return (entry, path) if entry is not None else (Position(), path)


def _inside(node: Node, path: str, keys: Sequence[str]) -> tuple[Node, str]:
    for key in keys:
        inner = node.get(key)
        if inner is None:
            break
        node, path = inner, child_path(path, key)
    return node, path


def _place(root: Node | None, space: StudySpace, field: str | None) -> tuple[Node | Position, str]:
    """Where a field of the task stands: in the entry's own section, else in the shared one, else where the file is named."""
    files = [name for name, known in space.task_type.configuration_type.hyperparameters().items() if known.file]
    architectures = root.get("architectures") if root else None
    entry = architectures.get(space.entry) if architectures else None
    sections = [(entry.get("task") if entry else None, child_path(child_path("architectures", space.entry), "task"))]
    sections.append((root.get("task") if root else None, "task"))
    for name in (field, *files):
        for section, path in sections:
            node = section.get(name) if section and name else None
            if node is not None:
                return node, child_path(path, str(name))
    shared = sections[-1][0]
    return (shared, "task") if shared is not None else (Position(), "task")
