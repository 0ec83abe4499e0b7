"""What ``memsweep list`` tells, as plain values."""

from __future__ import annotations

from typing import Any

from orchestrator.catalogue.available import available_architectures, available_tasks, unavailable_names
from orchestrator.space.sections import SECTIONS, MeasuredConfiguration, ParameterBudgetConfiguration
from trainables.architecture import Architecture
from trainables.configuration import Configuration, Hyperparameter, describe_type
from trainables.task import Task
from trainables.training.configuration import TrainingConfiguration

BOUNDS = ("minimum", "maximum", "above")

TYPED_SECTIONS: dict[str, type[Configuration]] = {
    "training": TrainingConfiguration,
    "constraints.params": ParameterBudgetConfiguration,
    "constraints.measured": MeasuredConfiguration,
    **SECTIONS,
}
"""Every part of a search space, besides model and task, whose keys follow from a typed configuration."""


def list_catalogue() -> dict[str, Any]:
    """``architectures``, ``tasks`` and ``sections`` by name with their hyperparameters, and ``not_available_yet``.

    A hyperparameter has ``type``, ``default``, ``range`` (the bounds it has of ``minimum``, ``maximum``, ``above``) and
    ``meaning``; one that describes another model has in ``fields`` those that may stand beside its default.
    """
    return {
        "architectures": {name: _architecture(found) for name, found in available_architectures().items()},
        "tasks": {name: _task(found) for name, found in available_tasks().items()},
        "sections": {name: _configuration(found) for name, found in TYPED_SECTIONS.items()},
        "not_available_yet": unavailable_names(),
    }


def bounds(field: Hyperparameter) -> dict[str, float]:
    """The bounds that a field has; whole ones as int, so that they print without a fraction."""
    found = {name: getattr(field, name) for name in BOUNDS}
    return {name: int(bound) if float(bound).is_integer() else bound for name, bound in found.items() if bound is not None}


def _architecture(found: Architecture) -> dict[str, Any]:
    rules = [rule.message for rule in found.pair_rules]
    described = _configuration(found.configuration)
    return {"summary": found.summary, "kind": found.kind, **described, "rules": [*described["rules"], *rules]}


def _task(found: type[Task]) -> dict[str, Any]:
    return {
        "summary": summary(found),
        "kind": found.kind,
        "metrics": dict(found.metrics),
        "final_metrics": dict(found.final_metrics),
        "training_defaults": dict(found.training_defaults),
        **_configuration(found.configuration_type),
    }


def summary(documented: type) -> str:
    """The first line of a docstring."""
    return (documented.__doc__ or "").strip().split("\n")[0]


def _configuration(configuration: type[Configuration]) -> dict[str, Any]:
    fields = configuration.hyperparameters()
    return {
        "hyperparameters": {name: _hyperparameter(field) for name, field in fields.items()},
        "rules": [rule.message for rule in configuration.rules],
    }


def _hyperparameter(field: Hyperparameter) -> dict[str, Any]:
    described = {"type": _type(field), "default": field.default, "range": bounds(field), "meaning": field.meaning}
    if field.nested is None:
        return described
    inner = field.nested.fields(field.default_mapping)
    return {**described, "fields": {name: _hyperparameter(found) for name, found in inner.items()}}


def _type(field: Hyperparameter) -> str:
    described = describe_type(field.type)
    if not field.file:
        return described
    return described.replace("text", " or ".join([*field.names, "file", *(["folder"] if field.folder else [])]))
