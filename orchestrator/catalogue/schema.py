"""The JSON Schema (draft 2020-12) of a search space: every key, type, range and meaning from the typed configurations.

What a schema cannot say (the rules between fields, what an expression means, which budget is feasible) is left to ``check``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.catalogue.available import available_architectures, available_tasks
from orchestrator.catalogue.definitions import Definitions, Schema, mapping
from orchestrator.catalogue.listing import summary
from orchestrator.catalogue.section_schema import constraints_schema, section_schemas
from orchestrator.catalogue.value_schema import field_schema, value_schema
from orchestrator.space.metrics import objective_metrics
from orchestrator.space.sections import NAME_PATTERN
from trainables.architecture import Architecture
from trainables.configuration import Hyperparameter
from trainables.task import Task
from trainables.training.configuration import TrainingConfiguration

_OPEN_MAPPING: Schema = {"type": ["object", "null"]}


def schema_text() -> str:
    """The schema as ``search_spaces/schema.json`` holds it."""
    return json.dumps(search_space_schema(), indent=1, allow_nan=False) + "\n"


def search_space_schema() -> Schema:
    """The schema as plain values; the same for the same architectures and tasks, whatever imported them first."""
    definitions = Definitions()
    architectures, tasks = available_architectures(), available_tasks()
    properties = {
        "name": {"description": "name of the sweep and of its folder", "type": "string", "pattern": f"^{NAME_PATTERN}$"},
        "task": {"description": "the task, by name, with its fields", **_task_name(tasks)},
        "model": {"description": "shared by the entries that have these fields", **_shared_model(definitions, architectures)},
        "architectures": _entries(definitions, architectures),
        "training": {"description": "how every entry is trained", **_OPEN_MAPPING},
        "constraints": constraints_schema(),
        **section_schemas(),
    }
    by_task = [_for_task(definitions, task) for task in tasks.values()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "memsweep search space",
        **mapping(properties, required=("task", "architectures")),
        "allOf": by_task,
        "$defs": definitions.collected(),
    }


def _fields(definitions: Definitions, fields: Iterable[Hyperparameter]) -> Schema:
    return {field.name: field_schema(definitions, field) for field in fields}


def _task_name(tasks: Mapping[str, type[Task]]) -> Schema:
    names = {"enum": list(tasks)}
    return {"anyOf": [names, {"type": "object", "required": ["name"], "properties": {"name": names}}]}


def _shared_model(definitions: Definitions, architectures: Mapping[str, Architecture]) -> Schema:
    owners: dict[str, dict[str, Hyperparameter]] = {}
    for architecture in architectures.values():
        for name, field in architecture.configuration.hyperparameters().items():
            owners.setdefault(name, {})[architecture.name] = field
    return mapping({name: _shared_field(definitions, fields) for name, fields in owners.items()}, nullable=True)


def _shared_field(definitions: Definitions, fields: Mapping[str, Hyperparameter]) -> Schema:
    """A field that several architectures have: what any of them takes."""
    forms = _distinct(value_schema(definitions, field) for field in fields.values())
    defaults = _distinct(field.default for field in fields.values())
    return {
        "description": _shared_meaning(fields),
        **({"default": defaults[0]} if len(defaults) == 1 else {}),
        **(forms[0] if len(forms) == 1 else {"anyOf": forms}),
    }


def _shared_meaning(fields: Mapping[str, Hyperparameter]) -> str:
    owners: dict[str, list[str]] = {}
    for owner, field in fields.items():
        owners.setdefault(field.meaning, []).append(owner)
    return (
        "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in owners.items())
        if len(owners) > 1
        else next(iter(owners))
    )


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _entries(definitions: Definitions, architectures: Mapping[str, Architecture]) -> Schema:
    """Each key names an architecture or holds ``architecture: NAME``, which has the last word."""
    fields = {name: _entry_fields(definitions, found) for name, found in architectures.items()}
    has_name = {"type": "object", "required": ["architecture"]}
    named = definitions.add("entry", _named_entry(fields))
    return {
        "description": "the entries: each is a row of every table and a study of its own",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "properties": {
            name: {"description": architectures[name].summary, "if": has_name, "then": named, "else": own}
            for name, own in fields.items()
        },
        "additionalProperties": named,
    }


def _named_entry(fields: Mapping[str, Schema]) -> Schema:
    chosen = [{"if": _has_constant("architecture", name), "then": own} for name, own in fields.items()]
    return {
        "type": "object",
        "required": ["architecture"],
        "properties": {"architecture": {"description": "which architecture this entry is", "enum": list(fields)}},
        "allOf": chosen,
    }


def _entry_fields(definitions: Definitions, architecture: Architecture) -> Schema:
    properties = {
        "architecture": {"const": architecture.name},
        "task": {"description": "overrides the shared task's fields", **_OPEN_MAPPING},
        "training": {"description": "overrides the shared training", **_OPEN_MAPPING},
        **_fields(definitions, architecture.configuration.hyperparameters().values()),
    }
    return definitions.add(f"architecture-{architecture.name}", mapping(properties, nullable=True))


def _for_task(definitions: Definitions, task: type[Task]) -> Schema:
    """What follows from the choice of a task: its fields, the defaults of training, the metrics of an objective."""
    fields = definitions.add(f"task-{task.name}", _task_fields(definitions, task))
    training = definitions.add(f"training-{task.name}", _training_fields(definitions, task))
    overrides = {"task": {"properties": {"name": False}, **fields}, "training": training}
    objective = {"properties": {"metric": {"enum": [*objective_metrics(task), None]}}}
    applies = {"anyOf": [{"const": task.name}, {"type": "object", **_has_constant("name", task.name)}]}
    return {
        "if": {"properties": {"task": applies}, "required": ["task"]},
        "then": {
            "properties": {
                "task": {"if": {"type": "object"}, "then": fields},
                "training": training,
                "architectures": {"additionalProperties": {"properties": overrides}},
                "objective": {**objective, "items": objective},
            }
        },
    }


def _task_fields(definitions: Definitions, task: type[Task]) -> Schema:
    fields = _fields(definitions, task.configuration_type.hyperparameters().values())
    return {"description": summary(task), **mapping({"name": {"const": task.name}, **fields}, nullable=True)}


def _training_fields(definitions: Definitions, task: type[Task]) -> Schema:
    known = TrainingConfiguration.hyperparameters()
    fields = [replace(field, default=task.training_defaults.get(name, field.default)) for name, field in known.items()]
    return mapping(_fields(definitions, fields), nullable=True)


def _has_constant(key: str, value: str) -> Schema:
    return {"properties": {key: {"const": value}}, "required": [key]}
