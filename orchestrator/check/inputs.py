"""What a task says of the files and data that its configurations name, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from orchestrator.document import Diagnostics, Node, Position, child_path
from orchestrator.space.dimension import ChoiceDimension, Dimension
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import value_at
from orchestrator.space.study_space import StudySpace
from orchestrator.space.task_values import data_configurations, task_configuration, task_dimensions, value_products
from trainables.configuration import Configuration, ConfigurationError
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
    """Adds what ``Task.inspect`` has against the configurations of :func:`inspected_configurations`, at the fields concerned.

    A file that is gone is no mistake here: its data may have been made.
    """
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
        _demand_listed_data(space, configurations, diagnostics, root)


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
        base = {name: value_at(d, halves * (d.lattice_size - 1) // 2) for name, d in dimensions.items()}
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
    named = {name: split_reference(text)[0] for name, text in named_references(configuration).items()}
    about = next(iter(named.values()), "")
    try:
        task_type.inspect(with_paths(configuration, files))
    except FileGone:
        return []
    except ConfigurationError as error:
        return [(field, _told(field, named.get(str(field), about), message)) for field, message in error.problems]
    return []


def _told(field: str | None, file: str, message: str) -> str:
    """With the field, and the file that it names or is about."""
    about = f" ({file})" if file else ""
    return f"`{field}`{about}: {message}" if field else message


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
