"""The task's configurations that a study may come to: which dimensions they depend on, and which data they need."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.space.assignment import Assignment, Infeasible, NotDrawn
from orchestrator.space.dimension import Dimension
from orchestrator.space.structures import value_at
from orchestrator.space.study_space import StudySpace, plain
from orchestrator.space.value import Computed, ExpressionGuard, Searched
from trainables.configuration import Configuration, ConfigurationError
from trainables.fingerprint import fingerprint

MOST_DATA = 64
"""Of one study so many different data are made before it begins."""
_MOST_TRIED = 4096
_SCOPE = "task."


def task_dimensions(space: StudySpace) -> dict[str, Dimension]:
    """The dimensions on which the fields of the task depend, also through expressions, by name."""
    return dimensions_of(space, [name for name in space.fields if name.startswith(_SCOPE)])


def dimensions_of(space: StudySpace, wanted: Iterable[str]) -> dict[str, Dimension]:
    """The dimensions on which the named fields depend, also through expressions, by name."""
    fields = list(wanted)
    seen, found = set(fields), set()
    while fields:
        for part in space.fields[fields.pop()].value.parts():
            expressions = [part.expression] if isinstance(part, Computed) else []
            if isinstance(part, Searched):
                found.add(part.dimension.name)
                expressions = [guard.expression for guard in part.guards if isinstance(guard, ExpressionGuard)]
            needed = {name for expression in expressions for name in expression.names} - seen
            seen |= needed
            fields += needed
    return {name: searched.dimension for name, searched in space.searched.items() if name in found}


def task_configuration(space: StudySpace, drawn: Mapping[str, Any]) -> Configuration | None:
    """The task's configuration for values of :func:`task_dimensions`; None where no trial can have it."""
    assignment = Assignment(space.fields, drawn)
    try:
        values = {name: plain(assignment.lookup(name)) for name in space.fields if name.startswith(_SCOPE)}
        if _is_excluded(space, assignment):
            return None
        configuration_type = space.task_type.configuration_type
        return configuration_type.from_values({name.removeprefix(_SCOPE): value for name, value in values.items()})
    except (Infeasible, ConfigurationError):
        return None


def data_configurations(space: StudySpace) -> list[Configuration] | None:
    """One configuration for each different data that trials of the study need; None where they are too many to be listed.

    Whether data depend on a range that is too long to be listed is judged by its ends and its middle.
    """
    dimensions = task_dimensions(space)
    listed = {name: dimension for name, dimension in dimensions.items() if 0 < dimension.size <= MOST_DATA}
    while _combinations(dimensions, listed) > _MOST_TRIED:
        if not listed:
            return None
        del listed[max(listed, key=lambda name: listed[name].size)]
    found: dict[str, Configuration] = {}
    for drawn in value_products({name: range(dimension.size) for name, dimension in listed.items()}, dimensions):
        data = _data(space, drawn, {name: probes(d) for name, d in dimensions.items() if name not in listed})
        if len(data) > 1:
            return None
        found |= {key: configuration for key, configuration in data.items() if key not in found}
    return list(found.values()) if len(found) <= MOST_DATA else None


def probes(dimension: Dimension) -> list[int]:
    """Indices of the ends and of the middle of a dimension's lattice."""
    last = dimension.lattice_size - 1
    return sorted({0, last // 2, last})


def _combinations(dimensions: Mapping[str, Dimension], listed: Mapping[str, Dimension]) -> int:
    return math.prod(listed[name].size if name in listed else len(probes(d)) for name, d in dimensions.items())


def _data(space: StudySpace, drawn: Mapping[str, Any], probed: Mapping[str, Iterable[int]]) -> dict[str, Configuration]:
    """By what decides them, the data for some values of the dimensions that are not listed."""
    dimensions = {name: searched.dimension for name, searched in space.searched.items()}
    configurations = (task_configuration(space, {**drawn, **rest}) for rest in value_products(probed, dimensions))
    return {fingerprint(space.task_type.data_values(found)): found for found in configurations if found is not None}


def value_products(indices: Mapping[str, Iterable[int]], dimensions: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """All combinations of the values at the given indices, those of the last dimension changing fastest."""
    columns = [[value_at(dimensions[name], index) for index in wanted] for name, wanted in indices.items()]
    return (dict(zip(indices, values, strict=True)) for values in itertools.product(*columns))


def _is_excluded(space: StudySpace, assignment: Assignment) -> bool:
    """Whether a hard constraint that looks at these dimensions alone does not hold."""
    for constraint in space.constraints:
        try:
            if not constraint.holds(assignment):
                return True
        except NotDrawn:
            continue
    return False
