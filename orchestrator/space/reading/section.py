"""Reads the typed sections: ``search``, ``scheduler``, ``resources`` and the like, which hold plain values only."""

from __future__ import annotations

from typing import Any, TypeVar

from orchestrator.document import Node, child_path
from orchestrator.space.reading.context import Context, nearest_choice, quantity
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter, convert, describe_type

C = TypeVar("C", bound=Configuration)


def read_section(context: Context, node: Node | None, path: str, wanted: type[C]) -> C:
    """The section as its typed configuration; where it has mistakes, they are reported and the defaults taken."""
    if node is None or not context.mapping(node, path, f"`{path}`"):
        return wanted()
    fields = wanted.hyperparameters()
    values: dict[str, Any] = {}
    sound = True
    for key, entry in node.entries.items():
        if key not in fields:
            context.unknown_key(entry, child_path(path, key), fields, f"key of `{path}`")
            sound = False
            continue
        problem, value = plain_problem(entry.node, fields[key])
        if problem:
            hint = nearest_choice(entry.node.value, fields[key].type, fields[key].meaning)
            context.error(entry.node, child_path(path, key), f"`{key}` {problem}", hint)
            sound = False
        else:
            values[key] = value
    if not sound:
        return wanted()
    try:
        return wanted.from_values(values)
    except ConfigurationError as mistake:
        for _, message in mistake.problems:
            context.error(node, path, f"`{path}`: {message}", "")
        return wanted()


def plain_problem(node: Node, field: Hyperparameter) -> tuple[str | None, Any]:
    """(what is wrong, None) or (None, the converted value) of a plain value."""
    try:
        value = convert(quantity(node.plain()) if not _takes_text(field) else node.plain(), field.type)
    except ValueError as mistake:
        return str(mistake), None
    return field.problem_with(value), value


def _takes_text(field: Hyperparameter) -> bool:
    return "text" in describe_type(field.type)
