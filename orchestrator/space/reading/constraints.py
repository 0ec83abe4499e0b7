"""Reads ``constraints``: the parameter budget, the ``require`` lines and the measured ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from orchestrator.document import Node, child_path, did_you_mean
from orchestrator.expression import Expression
from orchestrator.space.constraint import Budget
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.entry import ReadEntry
from orchestrator.space.reading.references import reference_hint
from orchestrator.space.reading.section import read_section
from orchestrator.space.sections import MeasuredConfiguration, ParameterBudgetConfiguration

_KEYS = ("params", "require", "measured")


@dataclass
class ReadConstraints:
    """The constraints of a sweep; ``budget_node`` is where the budget stands."""

    budget: Budget | None = None
    budget_node: Node | None = None
    require: list[tuple[Expression, Node, str]] = field(default_factory=list)
    measured: list[MeasuredConfiguration] = field(default_factory=list)


def read_constraints(context: Context, node: Node | None, metrics: Collection[str]) -> ReadConstraints:
    """``metrics`` are those that a measured constraint may name; empty where the task is not known."""
    read = ReadConstraints()
    if node is None or not context.mapping(node, "constraints", "`constraints`"):
        return read
    for key, entry in node.entries.items():
        if key not in _KEYS:
            context.unknown_key(entry, child_path("constraints", key), _KEYS, "key of `constraints`")
    read.budget_node = node.get("params")
    if read.budget_node is not None:
        read.budget = _budget(read_section(context, read.budget_node, "constraints.params", ParameterBudgetConfiguration))
    read.require = _require(context, node.get("require"))
    read.measured = _measured(context, node.get("measured"), metrics)
    return read


def _budget(section: ParameterBudgetConfiguration) -> Budget:
    if section.target is None:
        return Budget(section.scope, section.min, section.max)
    # A binary fraction such as 0.29 is no multiple of 1/100; the window must not lose its ends to that.
    spread = section.target * Fraction(section.tolerance).limit_denominator(10**9)
    return Budget(section.scope, math.ceil(section.target - spread), math.floor(section.target + spread))


def _require(context: Context, node: Node | None) -> list[tuple[Expression, Node, str]]:
    if node is None:
        return []
    if not isinstance(node.value, list):
        message = f"`require` must be a list of expressions, found {node.kind}"
        context.error(node, "constraints.require", message, 'such as ["dk <= dim"]')
        return []
    found = []
    for index, item in enumerate(node.items):
        path = child_path("constraints.require", index)
        if not isinstance(item.value, str):
            message = f"a `require` line must be an expression in quotes, found {item.kind}"
            context.error(item, path, message, 'such as "dk <= dim"')
        elif expression := context.expression(item, path, item.value):
            found.append((expression, item, path))
    return found


def _measured(context: Context, node: Node | None, metrics: Collection[str]) -> list[MeasuredConfiguration]:
    if node is None:
        return []
    if not isinstance(node.value, list):
        message = f"`measured` must be a list, found {node.kind}"
        context.error(node, "constraints.measured", message, "such as [{metric: …, max: …}]")
        return []
    read = []
    for index, item in enumerate(node.items):
        path = child_path("constraints.measured", index)
        section = read_section(context, item, path, MeasuredConfiguration)
        named = item.get("metric")
        if named is not None and section.metric and metrics and section.metric not in metrics:
            near = did_you_mean(section.metric, metrics)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(metrics)}"
            context.error(named, child_path(path, "metric"), f"there is no metric `{section.metric}`", hint)
        read.append(section)
    return read


def entries_of_requirement(
    context: Context, requirement: tuple[Expression, Node, str], entries: Sequence[ReadEntry]
) -> tuple[str, ...]:
    """The entries that have all names of a ``require`` line; none is a mistake."""
    expression, node, path = requirement
    named = {entry.name: {*entry.fields, *entry.written} for entry in entries}
    holds = tuple(name for name, fields in named.items() if expression.names <= fields)
    complete = all(entry.architecture is not None for entry in entries)
    if not holds and complete and entries:
        known = sorted(set().union(*named.values()))
        missing = sorted(expression.names - set(known))
        hint = reference_hint(missing[0], known) if missing else "no entry has all of: " + ", ".join(sorted(expression.names))
        context.error(node, path, f"no entry has all names of this line: {', '.join(missing or sorted(expression.names))}", hint)
    return holds
