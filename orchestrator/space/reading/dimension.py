"""Reads ranges and choices: ``{int: [lo, hi]}``, ``{float: [lo, hi]}``, ``{choice: […]}``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.document import child_path
from orchestrator.space.dimension import ChoiceDimension, Dimension, FloatDimension, IntegerDimension
from orchestrator.space.reading.context import Context, Mistake, nearest_choice
from orchestrator.space.reading.files import FileMistake
from orchestrator.space.reading.nested import mapping_node, read_nested
from orchestrator.space.reading.slot import Slot
from trainables.configuration import Hyperparameter, convert


class DimensionReader:
    """Reads the dimensions of one field; every method raises :class:`Mistake` once it has reported one."""

    def __init__(self, context: Context, field: Hyperparameter) -> None:
        self._context = context
        self._field = field

    def read(self, slot: Slot, kind: str) -> Dimension:
        """The dimension of ``kind`` (``int``, ``float`` or ``choice``) that stands in the slot."""
        if kind == "choice":
            return ChoiceDimension(slot.name, self.choices(slot.child(kind)))
        number = int if kind == "int" else float
        low, high = self._ends(slot, kind, number)
        self._demand_type(slot, number)
        step, log = self._option(slot, "step", number), bool(self._option(slot, "log", bool))
        self._demand_scale(slot, kind, low, step, log)
        if kind == "int":
            return IntegerDimension(slot.name, low, high, step=step or 1, log=log)
        return FloatDimension(slot.name, low, high, step=step, log=log)

    def choices(self, slot: Slot) -> tuple[Any, ...]:
        """A list of different values, at least one."""
        if not slot.node.items:
            found = "an empty one" if slot.node.kind == "list" else slot.node.kind
            raise self.wrong(slot, f"expected a list with at least one value, found {found}", "such as [1, 2, 4]")
        places = [Slot(item, child_path(slot.path, i), slot.name, slot.wanted) for i, item in enumerate(slot.node.items)]
        read = [self.constant(place) for place in places]
        for index, value in enumerate(read):
            twin = next((place for place, other in zip(places, read[:index], strict=False) if self._alike(value, other)), None)
            if twin is not None:
                raise self.wrong(places[index], self._twice(value, places[index], twin), "remove one")
        return tuple(read)

    def constant(self, slot: Slot) -> Any:
        """A plain value of the wanted type and in the field's range; of a file its reference, of another model what it means."""
        value = self._converted(slot)
        node = mapping_node(self._field, slot.node) if self._field.nested is not None else None
        if node is not None:
            return read_nested(self._context, self._field, node, slot.path)
        if problem := self._field.problem_with(value):
            raise self.wrong(slot, f"`{self._field.name}` {problem}", self._field.meaning)
        return self._reference(slot, value) if self._field.names_file(value) else value

    def _reference(self, slot: Slot, written: str) -> str:
        try:
            return self._context.files.find(written, self._field).reference
        except FileMistake as mistake:
            raise self.wrong(slot, mistake.message, mistake.hint) from None

    def _twice(self, value: Any, slot: Slot, twin: Slot) -> str:
        if self._field.nested is not None and isinstance(value, Mapping):
            return f"this describes the same `{self._field.name}` as line {twin.node.line}, column {twin.node.column}"
        if self._field.names_file(value):
            return f"`{slot.node.value}` holds the same as `{twin.node.value}`, and a file counts once, by its content"
        return f"the value {value!r} is there twice"

    def _alike(self, value: Any, other: Any) -> bool:
        one, another = self._field.identity(value), self._field.identity(other)
        return type(one) is type(another) and bool(one == another)

    def wrong(self, slot: Slot, message: str, hint: str = "") -> Mistake:
        """Reports a mistake; to be raised."""
        self._context.error(slot.node, slot.path, message, hint)
        return Mistake()

    def _converted(self, slot: Slot) -> Any:
        try:
            return slot.node.plain() if slot.wanted is Any else convert(slot.node.plain(), slot.wanted)
        except ValueError as error:
            raise self.wrong(slot, f"`{self._field.name}`: {error}", self._type_hint(slot)) from None

    def _type_hint(self, slot: Slot) -> str:
        if slot.node.kind == "list":
            return "to search over a list, write {choice: […]}"
        if slot.wanted is bool:
            return "write true or false; yes, no, on and off are text"
        return nearest_choice(slot.node.value, slot.wanted, self._field.meaning)

    def _ends(self, slot: Slot, kind: str, number: type) -> tuple[Any, Any]:
        ends = slot.child(kind)
        if len(ends.node.items) != 2:
            raise self.wrong(ends, f"`{kind}` needs two ends", f"such as {{{kind}: [lo, hi]}}")
        low, high = (self._end(ends.item(index), number) for index in range(2))
        if low > high:
            raise self.wrong(ends, f"the range is upside down: {low:g} > {high:g}", f"write [{high:g}, {low:g}]")
        return low, high

    def _end(self, slot: Slot, number: type) -> Any:
        try:
            value = convert(slot.node.plain(), number)
        except ValueError as error:
            raise self.wrong(slot, str(error), _end_hint(slot, number)) from None
        if not math.isfinite(value):
            raise self.wrong(slot, f"an end must be finite, got {slot.node.text}", "give the last value to try")
        if problem := self._field.problem_with(value):
            raise self.wrong(slot, f"`{self._field.name}` {problem}", self._field.meaning)
        return value

    def _demand_type(self, slot: Slot, number: type) -> None:
        try:
            slot.wanted is Any or convert(1 if number is int else 1.5, slot.wanted)
        except ValueError:
            kind, hint = ("whole", "use {choice: […]}") if number is int else ("real", "use {int: [lo, hi]} or {choice: […]}")
            message = f"`{self._field.name}` is {slot.wanted_text}; it cannot be drawn from {kind} numbers"
            raise self.wrong(slot, message, hint) from None

    def _option(self, slot: Slot, key: str, wanted: type) -> Any:
        """``step`` or ``log``; None where it is not written."""
        if key not in slot.node.entries:
            return None
        place = slot.child(key)
        try:
            value = convert(place.node.plain(), wanted)
        except ValueError as error:
            raise self.wrong(place, f"`{key}`: {error}", "correct it, or leave it out") from None
        if key == "step" and value <= 0:
            raise self.wrong(place, f"a step must be greater than 0, got {value:g}", "correct it, or leave it out")
        return value

    def _demand_scale(self, slot: Slot, kind: str, low: float, step: float | None, log: bool) -> None:
        if log and low <= 0:
            message = f"a log range cannot touch zero, got {low:g}"
            raise self.wrong(slot.child(kind).item(0), message, "start above 0, or drop `log`")
        if log and step is not None:
            raise self.wrong(slot.child("step"), "`step` and `log` exclude each other", "drop one, or use {choice: […]}")


def _end_hint(slot: Slot, number: type) -> str:
    if "${" in slot.node.text:
        return "an end is a plain number; bound a dimension by another one in `require`"
    return "for real numbers use `float`" if number is int else "such as [1e-4, 1e-2]"
