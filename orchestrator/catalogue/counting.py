"""The parameter counts of one configuration, measured on the module built without memory (torch's ``meta`` device)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from orchestrator.catalogue.available import available_architectures, available_tasks, suggestion, unknown_name
from orchestrator.document import Diagnostics, Source, parse_value
from orchestrator.space.reading.context import Context, Mistake
from orchestrator.space.reading.files import FileFinder
from orchestrator.space.reading.nested import mapping_node, read_nested
from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.counts import count_by_module, measure_counts
from trainables.registry import RESERVED_ARCHITECTURES, RESERVED_TASKS
from trainables.task import Task, rules_of_pair

C = TypeVar("C", bound=Configuration)

_TASK = "task"
_TASK_SCOPE = "task."


class CountError(ValueError):
    """What was asked for cannot be counted; ``problems`` says why, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class CountReport:
    """Parameter counts by scope and by module, with the complete configuration that they belong to."""

    architecture: str
    config: dict[str, Any]
    """Model fields by name, task fields with ``task.`` before it."""
    params: dict[str, int]
    modules: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"architecture": self.architecture, "config": self.config, "params": self.params, "modules": self.modules}


def count_configuration(architecture: str, assignments: Sequence[str] = ()) -> CountReport:
    """Counts ``architecture`` with ``key=value`` assignments: model fields, ``task.x`` and ``task=NAME``.

    In a field that describes another model ``base.dim=32`` changes one value of its default, or of ``base={…}``.

    Raises:
        CountError: an unknown name, a wrong value, a broken rule, or a module that cannot be built.
    """
    found = _architecture(architecture)
    values = _parse_assignments(assignments)
    task_types = _tasks(found, values.pop(_TASK, None))
    task_values = {key.removeprefix(_TASK_SCOPE): values.pop(key) for key in list(values) if key.startswith(_TASK_SCOPE)}
    values = _with_nested(found.configuration.hyperparameters(), values)
    model, task = _fitting_configurations(found, task_types, values, task_values)
    module = _build_on_meta(found, model, task)
    return CountReport(
        architecture=architecture,
        config={**model.to_values(), **{_TASK_SCOPE + key: value for key, value in task.to_values().items()}},
        params={scope: int(count) for scope, count in measure_counts(module).by_scope().items()},
        modules=count_by_module(module),
    )


def _architecture(name: str) -> Architecture:
    known = available_architectures()
    if name not in known:
        raise CountError([unknown_name("architecture", name, known, RESERVED_ARCHITECTURES)])
    return known[name]


def _tasks(architecture: Architecture, name: Any) -> list[type[Task]]:
    """The task called ``name``; without a name all that give what the architecture takes."""
    known = available_tasks()
    fitting = [task for task in known.values() if architecture.fits(task.name, task.kind)]
    if name is None:
        if not fitting:
            raise CountError([f"no task that is available gives {architecture.kind}, which `{architecture.name}` needs"])
        return fitting
    if name not in list(known):
        raise CountError([unknown_name("task", str(name), known, RESERVED_TASKS)])
    if known[name] not in fitting:
        names = ", ".join(task.name for task in fitting) or "none yet"
        message = f"`{architecture.name}` works on {architecture.kind}, the task `{name}` gives {known[name].kind}"
        if architecture.kind == known[name].kind:
            message = f"`{architecture.name}` does not run on the task `{name}`"
        raise CountError([f"{message} (tasks that fit: {names})"])
    return [known[name]]


def _parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            problems.append(f"`{assignment}`: write key=value, such as dim=64")
        elif key in values:
            problems.append(f"`{key}` is given twice")
        else:
            values[key] = _parse(assignment, text, problems)
    if problems:
        raise CountError(problems)
    return values


def _parse(assignment: str, text: str, problems: list[str]) -> Any:
    diagnostics = Diagnostics(assignment)
    node = parse_value(Source(assignment, text), diagnostics) if text.strip() else None
    if node is None or not diagnostics.ok:
        reason = diagnostics.found[0].message if diagnostics.found else "there is no value"
        problems.append(f"`{assignment}`: {reason}")
        return None
    return node.plain()


def _with_nested(known: Mapping[str, Hyperparameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with every field that describes another model as one mapping, read as a search space reads it."""
    merged = dict(values)
    for name, field in known.items():
        if field.nested is None:
            continue
        inner = {key: merged.pop(key) for key in list(merged) if key.startswith(f"{name}.")}
        mapping = merged.get(name, field.default)
        for key, value in inner.items():
            mapping = _with_inner(mapping, key.split(".")[1:], value)
        if inner or name in merged:
            merged[name] = _read_nested(field, mapping)
    return merged


def _with_inner(mapping: Any, keys: Sequence[str], value: Any) -> Any:
    if not keys:
        return value
    outer = mapping if isinstance(mapping, Mapping) else {}
    return {**outer, keys[0]: _with_inner(outer.get(keys[0]), keys[1:], value)}


def _read_nested(field: Hyperparameter, written: Any) -> Any:
    diagnostics, source = Diagnostics(field.name), Source(field.name, json.dumps(written))
    node = parse_value(source, diagnostics)
    mapping = None if node is None else mapping_node(field, node)
    if mapping is None:
        return written  # which the configuration takes or refuses
    if diagnostics.ok:
        try:
            return read_nested(Context(source, diagnostics, FileFinder([Path()])), field, mapping, field.name)
        except Mistake:
            pass
    raise CountError([f"{found.message}: {found.hint}" if found.hint else found.message for found in diagnostics.found])


def _fitting_configurations(
    architecture: Architecture, task_types: Sequence[type[Task]], values: Mapping[str, Any], task_values: Mapping[str, Any]
) -> tuple[Configuration, Configuration]:
    """On the first task; where nothing is said of tasks, on the first whose defaults suit the model, as a pretrained one has a
    vocabulary of its own."""
    first, *others = task_types
    try:
        return _configurations(architecture, first, values, task_values)
    except CountError:
        for other in () if task_values else others:
            with contextlib.suppress(CountError):
                return _configurations(architecture, other, values, task_values)
        raise


def _configurations(
    architecture: Architecture, task_type: type[Task], values: Mapping[str, Any], task_values: Mapping[str, Any]
) -> tuple[Configuration, Configuration]:
    problems: list[str] = []
    model = _configuration(architecture.configuration, values, "", f"`{architecture.name}`", problems)
    task = _configuration(task_type.configuration_type, task_values, _TASK_SCOPE, f"the task `{task_type.name}`", problems)
    if model is None or task is None:
        raise CountError(problems)
    if broken := [rule.message for rule in rules_of_pair(architecture, task_type) if not rule.holds(model, task)]:
        raise CountError(broken)
    return model, task


def _configuration(wanted: type[C], values: Mapping[str, Any], scope: str, owner: str, problems: list[str]) -> C | None:
    """The checked configuration; None where ``problems`` has more than before."""
    known = wanted.hyperparameters()
    unknown = [key for key in values if key not in known]
    names = [scope + name for name in known]
    problems += [f"{owner} has no field `{scope}{key}`: {suggestion(scope + key, names)}" for key in unknown]
    try:
        checked = wanted.from_values({key: value for key, value in values.items() if key in known})
    except ConfigurationError as error:
        problems += [f"`{scope}{name}` {text}" if name else text for name, text in error.problems]
        return None
    return None if unknown else checked


def _build_on_meta(architecture: Architecture, model: Configuration, task: Configuration) -> nn.Module:
    try:
        with torch.device("meta"):
            return architecture.build(model, task)
    except (RuntimeError, ValueError, OverflowError, MemoryError, ImportError, OSError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CountError([f"`{architecture.name}` cannot be built with these values: {reason}"]) from error
