"""JSON Schemas of values: plain ones by type and range, and the grammar of what a field of a search space may be."""

from __future__ import annotations

import json
import types
import typing
import zlib
from collections.abc import Mapping
from typing import Any

from orchestrator.catalogue.definitions import Definitions, Schema, mapping
from orchestrator.catalogue.listing import BOUNDS, bounds
from orchestrator.space.reading.slot import list_item_type
from trainables.configuration import Hyperparameter, Nested, convert, describe_type

_KEYWORDS = dict(zip(BOUNDS, ("minimum", "maximum", "exclusiveMinimum"), strict=True))
_SIMPLE: dict[Any, str] = {bool: "boolean", str: "string", type(None): "null", dict: "object"}
_QUANTITIES = {
    int: {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[kMGB]$"},
    float: {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[kMGB%]$"},
}
_EXPRESSION: Schema = {
    "description": "an expression over the entry's fields, task.x and training.x, such as ${2 * dim}",
    "type": "string",
    "pattern": r"^\$\{[\s\S]*\}$",
}
_NO_EXPRESSION: Schema = {"type": "string", "not": {"pattern": r"^\$\{"}}
_WHEN: Schema = {
    "type": "string",
    "description": "an expression; where it is false the field has its default and is not searched",
}
_LOG: Schema = {"type": "boolean", "description": "drawn uniformly in the logarithm; excludes step"}
_EQUAL: Schema = {"type": "boolean", "description": "all items have one value, instead of each its own"}
_LENGTH = Hyperparameter(name="length", type=int, default=1, meaning="number of items", minimum=1)


def plain_schema(wanted: Any, limits: Mapping[str, float], quantities: bool = False) -> Schema:
    """What :func:`trainables.configuration.convert` takes as ``wanted``, within ``limits`` where it is a number.

    With ``quantities`` a number may also be text such as 4M, 500k or 2%.
    """
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [plain_schema(part, limits, quantities) for part in arguments]}
    if origin is list:
        return {"type": "array", "items": plain_schema(arguments[0], limits, quantities)}
    if (origin or wanted) in _SIMPLE:
        return {"type": _SIMPLE[origin or wanted]}
    number = _number(wanted, limits)
    return {"anyOf": [number, dict(_QUANTITIES[wanted])]} if quantities else number


def value_schema(definitions: Definitions, field: Hyperparameter, wanted: Any = None, top: bool = True) -> Schema:
    """A reference to what a field, or (not ``top``) an item of its list, may be: constant, expression, dimension, list."""
    wanted = field.type if wanted is None else wanted
    if field.nested is not None:
        return _nested_schema(definitions, field, field.nested)
    forms = [plain_schema(wanted, bounds(field)), definitions.add("expression", _EXPRESSION)]
    plain = plain_schema(wanted, bounds(field))
    forms += _ranges(field, wanted, top) + _choices(plain, top) + _lists(definitions, field, wanted)
    name = f"{'value' if top else 'item'}-{describe_type(wanted)}"
    limits = [f"{kind}-{bound:g}" for kind, bound in bounds(field).items()]
    return definitions.add("-".join([name, *limits]).replace("+", ""), {"anyOf": forms})


def field_schema(definitions: Definitions, field: Hyperparameter) -> Schema:
    """A field of a model, a task or of training, with its meaning and default."""
    return {"description": field.meaning, "default": field.default, **value_schema(definitions, field)}


def _nested_schema(definitions: Definitions, field: Hyperparameter, nested: Nested) -> Schema:
    """Whole mappings only, or the texts that stand for them.

    Which fields there are depends on what is in a mapping, so that those of the default are not all.
    """
    group = _group_schema(nested.fields(field.default_mapping))
    # Fields of one name may describe different models.
    name = f"nested-{field.name}-{zlib.crc32(json.dumps(group, sort_keys=True).encode()):08x}"
    described = definitions.add(name, group)
    parts = typing.get_args(field.type) if typing.get_origin(field.type) in (typing.Union, types.UnionType) else ()
    others: dict[str, tuple[Any, Schema]] = {"nullable-": (type(None), {"type": "null"}), "text-or-": (str, _NO_EXPRESSION)}
    allowed = {prefix: schema for prefix, (kind, schema) in others.items() if kind in parts}
    plain = {"anyOf": [described, *allowed.values()]} if allowed else described
    return definitions.add(f"value-{''.join(allowed)}{name}", {"anyOf": [plain, *_choices(plain, top=True)]})


def _group_schema(fields: Mapping[str, Hyperparameter]) -> Schema:
    """An object with ``fields``, whose dotted names make objects inside it, and perhaps others."""
    groups = dict.fromkeys(name.split(".")[0] for name in fields)
    properties = {}
    for name in groups:
        inner = {key.removeprefix(f"{name}."): found for key, found in fields.items() if key.startswith(f"{name}.")}
        properties[name] = _group_schema(inner) if inner else _plain_field(fields[name])
    return {"type": "object", "properties": properties}


def _plain_field(field: Hyperparameter) -> Schema:
    plain = {} if field.type is Any else plain_schema(field.type, bounds(field), quantities=True)
    return {"description": field.meaning, **plain}


def _number(wanted: type, limits: Mapping[str, float]) -> Schema:
    return {
        "type": {int: "integer", float: "number"}[wanted],
        **{_KEYWORDS[kind]: bound for kind, bound in limits.items()},
    }


def _ranges(field: Hyperparameter, wanted: Any, top: bool) -> list[Schema]:
    kinds: tuple[tuple[str, type, float], ...] = (("int", int, 1), ("float", float, 1.5))
    return [_range(field, kind, number, top) for kind, number, sample in kinds if _accepts(wanted, sample)]


def _range(field: Hyperparameter, kind: str, number: type, top: bool) -> Schema:
    ends = {
        "description": "lowest and highest value, both included",
        **{"type": "array", "items": _number(number, bounds(field)), "minItems": 2, "maxItems": 2},
    }
    step = {"description": "distance of neighbouring values; excludes log", **_number(number, {"above": 0})}
    return mapping({kind: ends, "step": step, "log": _LOG, **({"when": _WHEN} if top else {})}, required=(kind,))


def _choices(item: Schema, top: bool) -> list[Schema]:
    values = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    choice = {"description": "values to choose from", **values}
    if not top:
        return [mapping({"choice": choice}, required=("choice",))]
    grid = {"description": "values that each make a study of their own", **values}
    return [mapping({"choice": choice, "when": _WHEN}, required=("choice",)), mapping({"grid": grid}, required=("grid",))]


def _lists(definitions: Definitions, field: Hyperparameter, wanted: Any) -> list[Schema]:
    item_type = list_item_type(wanted)
    if item_type is None:
        return []
    item = value_schema(definitions, field, item_type, top=False)
    length = {"description": _LENGTH.meaning, **value_schema(definitions, _LENGTH, top=False)}
    drawn = {"list": {"description": "what each item may be", **item}, "length": length, "equal": _EQUAL}
    return [{"type": "array", "items": item}, mapping(drawn, required=("list", "length"))]


def _accepts(wanted: Any, sample: float) -> bool:
    try:
        convert(sample, wanted)
    except ValueError:
        return False
    return True
