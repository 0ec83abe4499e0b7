"""Reads the value of a field: a constant, a dimension, an expression, a list of values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.document import Node, child_path
from orchestrator.expression import Expression, inner_expression
from orchestrator.space.dimension import ChoiceDimension, IntegerDimension
from orchestrator.space.reading.context import Context, Mistake
from orchestrator.space.reading.dimension import DimensionReader
from orchestrator.space.reading.nested import MADE_ONCE, SEARCH_WHOLE
from orchestrator.space.reading.slot import OPTIONS, Slot, list_item_type, takes_mapping
from orchestrator.space.value import (
    LONGEST_LIST,
    Computed,
    Constant,
    ExpressionGuard,
    Guard,
    LengthGuard,
    Listing,
    Lookup,
    Repeated,
    Searched,
    Value,
)
from trainables.configuration import Hyperparameter


@dataclass(frozen=True)
class Gridded:
    """``{grid: […]}``: splits its entry into cells before anything is searched, so that it is never resolved."""

    name: str
    choices: tuple[Any, ...]

    def resolve(self, assignment: Lookup) -> Any:
        raise RuntimeError(f"the grid of {self.name} was not split into cells")

    def parts(self) -> Iterator[Value]:
        yield self


@dataclass(frozen=True)
class Written:
    """An expression with its place, for the later check of its names."""

    node: Node
    path: str
    expression: Expression


class ValueReader:
    """Reads one field; ``written`` collects its expressions."""

    def __init__(self, context: Context, field: Hyperparameter) -> None:
        self.written: list[Written] = []
        self._context = context
        self._field = field
        self._dimensions = DimensionReader(context, field)

    def read(self, node: Node, path: str, name: str) -> Value | None:
        """The value, or None where a mistake was reported; ``name`` is the field's, for its dimensions."""
        try:
            return self._field_value(Slot(node, path, name, self._field.type))
        except Mistake:
            return None

    def _field_value(self, slot: Slot) -> Value:
        """What may stand at a whole field only: a grid, and a dimension with ``when``."""
        kind = _dimension_kind(slot)
        if kind == "grid":
            self._demand_keys(slot, kind)
            return Gridded(slot.name, self._dimensions.choices(slot.child(kind)))
        if kind in ("int", "float", "choice"):
            self._demand_keys(slot, kind)
            return Searched(self._dimensions.read(slot, kind), self._when(slot), self._field.default)
        return self._value(slot, ())

    def _value(self, slot: Slot, guards: tuple[Guard, ...]) -> Value:
        if isinstance(slot.node.value, str) and "${" in slot.node.value:
            return self._computed(slot)
        if kind := _dimension_kind(slot):
            return self._inner_dimension(slot, kind, guards)
        if slot.node.kind == "list" and list_item_type(slot.wanted) is not None:
            return self._listing(slot, guards)
        if slot.node.kind == "mapping" and not takes_mapping(slot.wanted):
            hint = "a dimension is one of {int: [lo, hi]}, {float: [lo, hi]}, {choice: […]}, {grid: […]}, {list: …, length: …}"
            raise self._dimensions.wrong(slot, f"expected {slot.wanted_text}, found a mapping", hint)
        return Constant(self._dimensions.constant(slot))

    def _computed(self, slot: Slot) -> Value:
        if self._field.file:
            message = f"`{self._field.name}` names a file, which is looked for before the sweep: it cannot be computed"
            hint = "write its name, or {choice: [A, B]}" if self._field.folder else "write its name, or {choice: [a.csv, b.csv]}"
            raise self._dimensions.wrong(slot, message, hint)
        if self._field.nested is not None:
            raise self._dimensions.wrong(slot, MADE_ONCE.format(self._field.name), SEARCH_WHOLE)
        text = inner_expression(slot.node.value)
        if text is None:
            raise self._dimensions.wrong(slot, 'an expression must be the whole text: "${…}"', "compute the text inside ${…}")
        return Computed(self._expression(slot, text))

    def _expression(self, slot: Slot, text: str) -> Expression:
        expression = self._context.expression(slot.node, slot.path, text)
        if expression is None:
            raise Mistake
        self.written.append(Written(slot.node, slot.path, expression))
        return expression

    def _inner_dimension(self, slot: Slot, kind: str, guards: tuple[Guard, ...]) -> Value:
        self._demand_keys(slot, kind)
        if kind == "list":
            return self._repeated(slot, guards)
        if kind == "grid":
            raise self._dimensions.wrong(slot, "`grid` splits a whole field, not an item of a list", "use {choice: […]} here")
        if "when" in slot.node.entries:
            message = "`when` belongs to a whole field, not to an item of a list"
            raise self._dimensions.wrong(slot.child("when"), message, "vary the list's `length`")
        return Searched(self._dimensions.read(slot, kind), guards)

    def _demand_keys(self, slot: Slot, kind: str) -> None:
        known = (kind, *OPTIONS[kind])
        for key, entry in slot.node.entries.items():
            if key not in known:
                self._context.unknown_key(entry, child_path(slot.path, key), known, f"key of a `{kind}` dimension")
                raise Mistake

    def _when(self, slot: Slot) -> tuple[Guard, ...]:
        if "when" not in slot.node.entries:
            return ()
        place = slot.child("when")
        if not isinstance(place.node.value, str):
            message = f"`when` must be an expression in quotes, found {place.node.kind}"
            raise self._dimensions.wrong(place, message, 'such as when: "mode == 1"')
        return (ExpressionGuard(self._expression(place, place.node.value)),)

    def _listing(self, slot: Slot, guards: tuple[Guard, ...]) -> Value:
        items = tuple(self._value(slot.item(index), guards) for index in range(len(slot.node.items)))
        if all(isinstance(item, Constant) for item in items):
            return Constant([item.value for item in items if isinstance(item, Constant)])
        return Listing(items)

    def _repeated(self, slot: Slot, guards: tuple[Guard, ...]) -> Value:
        if list_item_type(slot.wanted) is None:
            message = f"`{self._field.name}` is no list: expected {slot.wanted_text}"
            raise self._dimensions.wrong(slot, message, "leave out `list` and `length`")
        if "length" not in slot.node.entries:
            raise self._dimensions.wrong(slot, "a `list` needs a `length`", "such as {list: {int: [4, 64]}, length: 3}")
        length, equal = self._length(slot.child("length"), guards), self._equal(slot)
        inner = slot.child("list")
        if equal:
            return Repeated((self._value(_named(inner, "[*]"), guards),), length, equal=True)
        items = []
        for index in range(_longest(length)):
            present = () if isinstance(length, Constant) else (LengthGuard(length, index),)
            items.append(self._value(_named(inner, f"[{index}]"), guards + present))
        return Repeated(tuple(items), length)

    def _length(self, slot: Slot, guards: tuple[Guard, ...]) -> Value:
        """``guards`` are those of the list: where it is not there, nor is its length searched, and it counts as 0."""
        field = Hyperparameter(name="length", type=int, default=1, meaning="number of items", minimum=1, maximum=LONGEST_LIST)
        reader = ValueReader(self._context, field)
        length = reader._value(Slot(slot.node, slot.path, f"{slot.name}.length", int), guards)
        self.written += reader.written
        return replace(length, default=0) if isinstance(length, Searched) else length

    def _equal(self, slot: Slot) -> bool:
        node = slot.node.get("equal")
        if node is not None and not isinstance(node.value, bool):
            message = f"`equal` must be true or false, found {node.kind}"
            raise self._dimensions.wrong(slot.child("equal"), message, "write equal: true")
        return bool(node and node.value)


def _named(slot: Slot, suffix: str) -> Slot:
    return Slot(slot.node, slot.path, slot.name + suffix, list_item_type(slot.wanted))


def _dimension_kind(slot: Slot) -> str | None:
    """Which dimension stands in the slot; in a field that takes mappings only a choice or a grid can be one."""
    kinds = [kind for kind in OPTIONS if kind in slot.node.entries]
    if not kinds or (takes_mapping(slot.wanted) and slot.wanted is not Any and kinds[0] not in ("choice", "grid")):
        return None
    return kinds[0]


def _longest(length: Value) -> int:
    if isinstance(length, Constant):
        return int(length.value)
    if isinstance(length, Searched) and isinstance(length.dimension, ChoiceDimension):
        return int(max(length.dimension.choices))
    if isinstance(length, Searched) and isinstance(length.dimension, IntegerDimension):
        return length.dimension.high
    return LONGEST_LIST
