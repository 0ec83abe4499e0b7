"""JSON Schemas of the sections, which hold plain values only; their numbers may be text such as 4M, 500k or 2%."""

from __future__ import annotations

from orchestrator.catalogue.definitions import Schema, mapping
from orchestrator.catalogue.listing import bounds, summary
from orchestrator.catalogue.value_schema import plain_schema
from orchestrator.space.sections import (
    MOST_OBJECTIVES,
    SECTIONS,
    MeasuredConfiguration,
    ParameterBudgetConfiguration,
    SchedulerConfiguration,
)
from trainables.configuration import Configuration, Hyperparameter


def section_schemas() -> dict[str, Schema]:
    """The schema of every typed section by its key."""
    found = {name: _section(wanted) for name, wanted in SECTIONS.items()}
    rule = plain_schema(SchedulerConfiguration.hyperparameters()["name"].type, {})
    described = found["scheduler"].pop("description")
    scheduler = {"description": described, "anyOf": [rule, found["scheduler"]]}
    return {**found, "objective": _objective(found["objective"]), "scheduler": scheduler}


def constraints_schema() -> Schema:
    """``constraints``: the parameter budget, the ``require`` lines and the measured ones."""
    some_bound = [{"required": [key]} for key in ("target", "min", "max")]
    require = {
        "description": 'expressions that every trial meets, such as "dk * n_heads <= 4 * dim"',
        **{"type": "array", "items": {"type": "string"}},
    }
    properties = {
        "params": {**_section(ParameterBudgetConfiguration), "type": "object", "anyOf": some_bound},
        "require": require,
        "measured": {"type": "array", "items": {**_section(MeasuredConfiguration), "type": "object", "required": ["metric"]}},
    }
    return {"description": "what trials must meet", **mapping(properties, nullable=True)}


def _objective(one: Schema) -> Schema:
    """One objective, or a list of them."""
    described = one.pop("description")
    several = {"type": "array", "minItems": 1, "maxItems": MOST_OBJECTIVES, "items": one}
    return {"description": described, "anyOf": [one, several]}


def _section(wanted: type[Configuration]) -> Schema:
    fields = {name: _plain_field(field) for name, field in wanted.hyperparameters().items()}
    return {"description": summary(wanted), **mapping(fields, nullable=True)}


def _plain_field(field: Hyperparameter) -> Schema:
    return {"description": field.meaning, "default": field.default, **plain_schema(field.type, bounds(field), quantities=True)}
