"""Reads the value of a field: a constant, a dimension, an expression, a list of values."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.document import Node, child_path
from orchestrator.expression import Expression, inner_expression
from orchestrator.space.dimension import ChoiceDimension, Dimension, FloatDimension, IntegerDimension
from orchestrator.space.reading.context import Context
from orchestrator.space.value import Computed, Constant, ExpressionGuard, Guard, LengthGuard, Listing, Repeated, Searched, Value
from trainables.configuration import Hyperparameter, convert, describe_type

_OPTIONS = {
    "int": {"step", "log", "when"},
    "float": {"step", "log", "when"},
    "choice": {"when"},
    "grid": set(),
    "list": {"length", "equal"},
}
_LONGEST_LIST = 64


@dataclass(frozen=True)
class Gridded:
    """``{grid: […]}``: splits its entry into cells before anything is searched."""

    name: str
    choices: tuple[Any, ...]

    def resolve(self, assignment: Any) -> Any:
        raise RuntimeError(f"the grid of {self.name} was not split into cells")

    def parts(self) -> Any:
        yield self


@dataclass(frozen=True)
class Written:
    """An expression with its place, for the later check of its names."""

    node: Node
    path: str
    expression: Expression


class ValueReader:
    """Reads one field. ``written`` collects its expressions."""

    def __init__(self, context: Context, field: Hyperparameter, path: str, name: str) -> None:
        self.context = context
        self.field = field
        self.path = path
        self.name = name
        self.written: list[Written] = []

    def read(self, node: Node) -> Value | None:
        """The value, or None where a mistake was reported."""
        return self._value(node, self.path, self.name, self.field.type, (), top=True)

    def _value(self, node: Node, path: str, name: str, wanted: Any, guards: tuple[Guard, ...], top: bool = False) -> Value | None:
        if isinstance(node.value, str) and "${" in node.value:
            return self._computed(node, path)
        if isinstance(node.value, dict) and (kind := _dimension_kind(node, wanted)):
            return self._dimension(node, path, name, wanted, guards, kind, top)
        item_type = list_item_type(wanted)
        if isinstance(node.value, list) and item_type is not None:
            return self._listing(node, path, name, item_type, guards)
        if isinstance(node.value, dict) and not takes_mapping(wanted):
            hint = "a dimension is one of {int: [lo, hi]}, {float: [lo, hi]}, {choice: […]}, {grid: […]}, {list: …, length: …}"
            return self._wrong(node, path, f"expected {describe(wanted)}, found a mapping", hint)
        return self._constant(node, path, wanted)

    def _constant(self, node: Node, path: str, wanted: Any) -> Value | None:
        value = self._converted(node, path, wanted)
        return None if value is _MISSING else Constant(value)

    def _converted(self, node: Node, path: str, wanted: Any) -> Any:
        """A plain value as the field's type and in its range, or ``_MISSING`` with the mistake reported."""
        try:
            value = node.plain() if wanted is Any else convert(node.plain(), wanted)
        except ValueError as mistake:
            hint = "to search over a list, write {choice: […]}" if isinstance(node.value, list) else self.field.meaning
            if wanted is bool:
                hint = "write true or false; yes, no, on and off are text"
            self._wrong(node, path, f"`{self.field.name}`: {mistake}", hint)
            return _MISSING
        if problem := self.field.problem_with(value):
            self._wrong(node, path, f"`{self.field.name}` {problem}", self.field.meaning)
            return _MISSING
        return value

    def _computed(self, node: Node, path: str) -> Value | None:
        text = inner_expression(node.value)  # type: ignore[arg-type]
        if text is None:
            return self._wrong(node, path, "an expression must be the whole text: `\"${…}\"`", "compute the text inside ${…}")
        expression = self.context.expression(node, path, text)
        if expression is None:
            return None
        self.written.append(Written(node, path, expression))
        return Computed(expression)

    def _listing(self, node: Node, path: str, name: str, item_type: Any, guards: tuple[Guard, ...]) -> Value | None:
        read = [self._value(item, child_path(path, i), f"{name}[{i}]", item_type, guards) for i, item in enumerate(node.items)]
        items = [item for item in read if item is not None]
        if len(items) < len(read):
            return None
        if all(isinstance(item, Constant) for item in items):
            return Constant([item.value for item in items if isinstance(item, Constant)])
        return Listing(tuple(items))

    def _dimension(
        self, node: Node, path: str, name: str, wanted: Any, guards: tuple[Guard, ...], kind: str, top: bool
    ) -> Value | None:
        for key, entry in node.entries.items():
            if key != kind and key not in _OPTIONS[kind]:
                self.context.unknown_key(entry, child_path(path, key), {kind, *_OPTIONS[kind]}, f"key of a `{kind}` dimension")
                return None
        if kind == "list":
            return self._repeated(node, path, name, wanted, guards)
        if kind == "grid":
            choices = self._choices(node.entries[kind].node, child_path(path, kind), wanted)
            if not top:
                return self._wrong(node, path, "`grid` splits a whole field, not an item of a list", "use {choice: […]} here")
            return Gridded(name, choices) if choices else None
        dimension = self._ranged(node, path, name, wanted, kind)
        guard = self._when(node, path, top)
        if dimension is None or guard is None:
            return None
        return Searched(dimension, guards + guard, self.field.default)

    def _ranged(self, node: Node, path: str, name: str, wanted: Any, kind: str) -> Dimension | None:
        if kind == "choice":
            choices = self._choices(node.entries[kind].node, child_path(path, kind), wanted)
            return ChoiceDimension(name, choices) if choices else None
        reader = _integers if kind == "int" else _floats
        return reader(self, node, path, name, wanted)

    def _when(self, node: Node, path: str, top: bool) -> tuple[Guard, ...] | None:
        entry = node.entries.get("when")
        if entry is None:
            return ()
        inner = child_path(path, "when")
        if not top:
            self._wrong(entry.node, inner, "`when` belongs to a whole field, not to an item of a list", "give the list a `length` that varies")
            return None
        if not isinstance(entry.node.value, str):
            self._wrong(entry.node, inner, f"`when` must be an expression in quotes, found {entry.node.kind}", 'such as when: "a == 1"')
            return None
        expression = self.context.expression(entry.node, inner, entry.node.value)
        if expression is None:
            return None
        self.written.append(Written(entry.node, inner, expression))
        return (ExpressionGuard(expression),)

    def _choices(self, node: Node, path: str, wanted: Any) -> tuple[Any, ...] | None:
        if not isinstance(node.value, list) or not node.items:
            found = "an empty one" if isinstance(node.value, list) else node.kind
            self._wrong(node, path, f"expected a list with at least one value, found {found}", "such as [1, 2, 4]")
            return None
        read = [self._converted(item, child_path(path, i), wanted) for i, item in enumerate(node.items)]
        if any(value is _MISSING for value in read):
            return None
        for index, value in enumerate(read):
            if any(type(value) is type(other) and value == other for other in read[:index]):
                self._wrong(node.items[index], child_path(path, index), f"the value {value!r} is there twice", "remove one")
                return None
        return tuple(read)

    def _repeated(self, node: Node, path: str, name: str, wanted: Any, guards: tuple[Guard, ...]) -> Value | None:
        item_type, length_node = list_item_type(wanted), node.get("length")
        if item_type is None:
            return self._wrong(node, path, f"`{self.field.name}` is no list: expected {describe(wanted)}", "leave `list` and `length` out")
        if length_node is None:
            return self._wrong(node, path, "a `list` needs a `length`", "such as {list: {int: [4, 64]}, length: 3}")
        length = self._length(length_node, child_path(path, "length"), f"{name}.length")
        equal_node = node.get("equal")
        if equal_node is not None and not isinstance(equal_node.value, bool):
            return self._wrong(equal_node, child_path(path, "equal"), f"`equal` must be true or false, found {equal_node.kind}", "equal: true")
        if length is None:
            return None
        equal = bool(equal_node and equal_node.value)
        items = self._items(node.entries["list"].node, child_path(path, "list"), name, item_type, guards, length, equal)
        return None if items is None else Repeated(items, length, equal)

    def _length(self, node: Node, path: str, name: str) -> Value | None:
        field = Hyperparameter(name="length", type=int, default=1, meaning="number of items", minimum=1, maximum=_LONGEST_LIST)
        reader = ValueReader(self.context, field, path, name)
        length = reader._value(node, path, name, int, ())
        self.written += reader.written
        return length

    def _items(
        self, node: Node, path: str, name: str, item_type: Any, guards: tuple[Guard, ...], length: Value, equal: bool
    ) -> tuple[Value, ...] | None:
        read = []
        for index in range(1 if equal else _longest(length)):
            guard = () if equal or isinstance(length, Constant) else (LengthGuard(length, index),)
            item_name = f"{name}[*]" if equal else f"{name}[{index}]"
            read.append(self._value(node, path, item_name, item_type, guards + guard))
        items = [item for item in read if item is not None]
        return tuple(items) if len(items) == len(read) else None

    def _wrong(self, node: Node, path: str, message: str, hint: str) -> None:
        self.context.error(node, path, message, hint)


_MISSING: Any = object()


def _integers(reader: ValueReader, node: Node, path: str, name: str, wanted: Any) -> Dimension | None:
    ends = _ends(reader, node, path, "int", int)
    if ends is None or not _accepts(reader, node, path, wanted, int):
        return None
    step, log = _option(reader, node, path, "step", int, 1), _option(reader, node, path, "log", bool, False)
    if step is None or log is None:
        return None
    if not _scale_fits(reader, node, path, "int", ends, step != 1, log):
        return None
    return IntegerDimension(name, ends[0], ends[1], step=step, log=log)


def _floats(reader: ValueReader, node: Node, path: str, name: str, wanted: Any) -> Dimension | None:
    ends = _ends(reader, node, path, "float", float)
    if ends is None or not _accepts(reader, node, path, wanted, float):
        return None
    step, log = _option(reader, node, path, "step", float, 0.0), _option(reader, node, path, "log", bool, False)
    if step is None or log is None or not _scale_fits(reader, node, path, "float", ends, step != 0, log):
        return None
    return FloatDimension(name, ends[0], ends[1], step=step or None, log=log)


def _ends(reader: ValueReader, node: Node, path: str, kind: str, number: type) -> tuple[Any, Any] | None:
    ends_node, inner = node.entries[kind].node, child_path(path, kind)
    if not isinstance(ends_node.value, list) or len(ends_node.items) != 2:
        reader.context.error(ends_node, inner, f"`{kind}` needs two ends", f"such as {{{kind}: [lo, hi]}}")
        return None
    ends = []
    for index, end in enumerate(ends_node.items):
        try:
            ends.append(convert(end.plain(), number))
        except ValueError as mistake:
            reader.context.error(end, child_path(inner, index), f"{mistake}", _end_hint(end, number))
            return None
        if not math.isfinite(ends[-1]):
            reader.context.error(end, child_path(inner, index), f"an end must be finite, got {end.text}", "give the largest value to try")
            return None
    if ends[0] > ends[1]:
        reader.context.error(ends_node, inner, f"the range is upside down: {ends[0]:g} > {ends[1]:g}", f"write [{ends[1]:g}, {ends[0]:g}]")
        return None
    for end, value in zip(ends_node.items, ends, strict=True):
        if problem := reader.field.problem_with(value):
            reader.context.error(end, inner, f"`{reader.field.name}` {problem}", reader.field.meaning)
            return None
    return ends[0], ends[1]


def _end_hint(end: Node, number: type) -> str:
    if "${" in end.text:
        return "an end is a plain number; bound a dimension by another one in `require`"
    return "for real numbers use `float`" if number is int else "such as [1e-4, 1e-2]"


def _accepts(reader: ValueReader, node: Node, path: str, wanted: Any, number: type) -> bool:
    if wanted is Any:
        return True
    try:
        convert(1 if number is int else 1.5, wanted)
        return True
    except ValueError:
        kind = "whole" if number is int else "real"
        reader.context.error(node, path, f"`{reader.field.name}` is {describe(wanted)}; it cannot be drawn from {kind} numbers",
                             "use {choice: […]}" if number is int else "use {int: [lo, hi]} or {choice: […]}")
        return False


def _option(reader: ValueReader, node: Node, path: str, key: str, wanted: type, default: Any) -> Any:
    found = node.get(key)
    if found is None:
        return default
    try:
        value = convert(found.plain(), wanted)
        if key == "step" and value <= 0:
            raise ValueError(f"a step must be greater than 0, got {value:g}")
        return value
    except ValueError as mistake:
        reader.context.error(found, child_path(path, key), f"`{key}`: {mistake}", "leave it out, or correct it")
        return None


def _scale_fits(reader: ValueReader, node: Node, path: str, kind: str, ends: tuple[Any, Any], stepped: bool, log: bool) -> bool:
    if log and ends[0] <= 0:
        low = node.entries[kind].node.items[0]
        reader.context.error(low, child_path(path, kind), f"a log range cannot touch zero, got {ends[0]:g}", "start above 0, or drop `log`")
        return False
    if log and stepped:
        reader.context.error(node.entries["step"].key_node, path, "`step` and `log` exclude each other", "drop one, or use {choice: […]}")
        return False
    return True


def _dimension_kind(node: Node, wanted: Any) -> str | None:
    kinds = [kind for kind in _OPTIONS if kind in node.entries]
    if not kinds or (takes_mapping(wanted) and wanted is not Any and kinds[0] not in ("choice", "grid")):
        return None
    return kinds[0]


def _longest(length: Value) -> int:
    if isinstance(length, Constant):
        return int(length.value)
    if isinstance(length, Searched) and isinstance(length.dimension, ChoiceDimension):
        return max(length.dimension.choices)
    if isinstance(length, Searched) and isinstance(length.dimension, IntegerDimension):
        return length.dimension.high
    return _LONGEST_LIST


def list_item_type(wanted: Any) -> Any:
    """The item type of a list field (of the list part of a union), or None."""
    if wanted is Any:
        return Any
    if typing.get_origin(wanted) is list:
        return typing.get_args(wanted)[0]
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return next((item for part in typing.get_args(wanted) if (item := list_item_type(part))), None)
    return None


def takes_mapping(wanted: Any) -> bool:
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return any(takes_mapping(part) for part in typing.get_args(wanted))
    return wanted is Any or wanted is dict or typing.get_origin(wanted) is dict


def describe(wanted: Any) -> str:
    return "any value" if wanted is Any else describe_type(wanted)


def untyped(name: str) -> Hyperparameter:
    """Stands for a field of an architecture or task that is not available yet: its grammar is checked, nothing else."""
    return Hyperparameter(name=name, type=Any, default=None, meaning="")


def with_name(field: Hyperparameter, name: str) -> Hyperparameter:
    return replace(field, name=name)


Reader = Callable[[Node], Value | None]
