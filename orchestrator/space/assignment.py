"""One assignment of an entry's dimensions, resolved lazily."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from orchestrator.expression import Expression, ExpressionError, NotVectorisable, evaluate
from orchestrator.space.dimension import Dimension
from orchestrator.space.distinct import evaluate_distinct
from orchestrator.space.items import items_read
from orchestrator.space.value import Infeasible, Listing, NotUniform, Value, is_derived
from trainables.configuration import Configuration, Hyperparameter, convert

__all__ = ["Assignment", "Field", "Infeasible", "Namespace", "NotDrawn"]


class NotDrawn(Exception):
    """A dimension was looked at that this assignment has no value for; ``dimension`` names it."""

    def __init__(self, dimension: str) -> None:
        self.dimension = dimension
        super().__init__(dimension)


@dataclass(frozen=True)
class Field:
    """A field of an entry: ``dk``, ``task.vocab_size`` or ``training.lr``, with what it may be and what it is."""

    name: str
    hyperparameter: Hyperparameter
    value: Value
    written: bool
    """Whether the YAML names it; otherwise the value is the default."""
    derived: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "derived", is_derived(self.value))

    @cached_property
    def items(self) -> tuple[Field, ...]:
        """The items of a list that is written out and in which something is computed: an expression can read one by one."""
        if not (self.derived and isinstance(self.value, Listing)):
            return ()
        described = replace(self.hyperparameter, type=_item_type(self.hyperparameter.type))
        return tuple(Field(f"{self.name}[{i}]", described, item, self.written) for i, item in enumerate(self.value.items))


class Assignment:
    """Resolves fields for the dimension values ``drawn`` (plain values, or arrays with one element a candidate).

    A dimension without a drawn value raises :class:`NotDrawn` when something resolved depends on it. ``valid`` says (an array
    for many candidates) whether all derived values resolved so far fit the type and range of their field.
    """

    def __init__(self, fields: Mapping[str, Field], drawn: Mapping[str, Any]) -> None:
        self._fields = fields
        self._drawn = drawn
        self._resolved: dict[str, Any] = {}
        self.valid: Any = True
        self.one_by_one = 0
        """Evaluations of expressions that could not be done for many candidates at once."""

    def lookup(self, name: str) -> Any:
        """The resolved value of a field.

        Raises:
            Infeasible: a derived value of a single candidate does not fit its field.
            NotVectorisable: it cannot be had for many candidates at once.
        """
        return self._known(self._fields[name])

    def _known(self, field: Field) -> Any:
        if field.name not in self._resolved:
            items = field.items
            self._resolved[field.name] = [self._known(item) for item in items] if items else self._resolve(field)
        return self._resolved[field.name]

    def _reader(self, expression: Expression) -> Callable[[str], Any]:
        """Looks up what an expression reads. Of a list it resolves no more items than are read: others may depend on these."""
        if not any(self._fields[name].items for name in expression.names if name in self._fields):
            return self.lookup
        return lambda name: self._items_of(self._fields[name], items_read(expression.text, name))

    def _items_of(self, field: Field, positions: frozenset[int] | None) -> Any:
        if not field.items or positions is None:
            return self._known(field)
        size = len(field.items)
        needed = {position % size for position in positions if -size <= position < size}
        return [self._known(item) if index in needed else None for index, item in enumerate(field.items)]

    def drawn(self, dimension: Dimension) -> Any:
        try:
            return self._drawn[dimension.name]
        except KeyError:
            raise NotDrawn(dimension.name) from None

    def evaluate(self, expression: Expression) -> Any:
        """The value of an expression over the fields; of many candidates those for which it has none become not ``valid``.

        Raises:
            Infeasible: a single candidate, and it has no value.
            NotVectorisable: it cannot be had for many candidates at once.
        """
        values, known = self._evaluated(expression)
        self.valid = self.valid & known
        return values

    def holds(self, expression: Expression) -> Any:
        """Whether an expression is true (a truth value, or an array of them); one that has no value is not."""
        try:
            values, known = self._evaluated(expression)
        except Infeasible:
            return False
        if not isinstance(values, np.ndarray):
            return bool(values)
        return (values != "" if values.dtype.kind == "U" else values.astype(bool)) & known

    def _evaluated(self, expression: Expression) -> tuple[Any, Any]:
        lookup = self._reader(expression)
        try:
            return evaluate(expression, lookup), True
        except NotUniform:
            raise
        except NotVectorisable:
            values, known, evaluations = evaluate_distinct(expression, lookup)
            self.one_by_one += evaluations
            return values, known
        except ExpressionError as error:
            raise Infeasible(str(error)) from error

    def namespace(self, scope: str, configuration_type: type[Configuration]) -> Namespace:
        """The fields of one scope (``""``, ``"task."``, ``"training."``) as attributes."""
        return Namespace(self, scope, configuration_type)

    def _resolve(self, field: Field) -> Any:
        value = field.value.resolve(self)
        return self._checked(field.hyperparameter, value) if field.derived else value

    def _checked(self, hyperparameter: Hyperparameter, value: Any) -> Any:
        if _is_many(value):
            return self._checked_many(hyperparameter, value)
        try:
            value = convert(value, hyperparameter.type)
        except ValueError as error:
            raise Infeasible(f"{hyperparameter.name}: {error}") from error
        if problem := hyperparameter.problem_with(value):
            raise Infeasible(f"{hyperparameter.name} {problem}")
        return value

    def _checked_many(self, hyperparameter: Hyperparameter, value: Any) -> Any:
        if isinstance(value, list):
            described = replace(hyperparameter, type=_item_type(hyperparameter.type))
            return [self._checked(described, item) for item in value]
        number = _number_type(hyperparameter.type)
        if number is None or value.dtype.kind not in "if":
            raise NotVectorisable(hyperparameter.name)
        column = value
        if number is int:
            self.valid = self.valid & (column == np.floor(column))
            column = np.floor(column).astype(np.int64)
        for bound, outside in _breaches(hyperparameter, column):
            if bound is not None:
                self.valid = self.valid & ~outside
        return column


class Namespace:
    """Attribute access to the fields of one scope, as closed-form counts and rules expect it."""

    def __init__(self, assignment: Assignment, scope: str, configuration_type: type[Configuration]) -> None:
        self._assignment = assignment
        self._scope = scope
        self._type = configuration_type

    def __getattr__(self, name: str) -> Any:
        if name in self._type.hyperparameters():
            return self._plain(name, self._assignment.lookup(self._scope + name))
        shared = getattr(self._type, name)
        return shared.fget(self) if isinstance(shared, property) and shared.fget else shared

    @staticmethod
    def _plain(name: str, value: Any) -> Any:
        """Closed forms and rules are written for columns of numbers, truth values or text (in lists too), not of objects."""
        if isinstance(value, np.ndarray) and value.dtype == object:
            raise NotVectorisable(name)
        return value


def _is_many(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (isinstance(value, list) and any(_is_many(item) for item in value))


def _breaches(hyperparameter: Hyperparameter, column: np.ndarray) -> list[tuple[float | None, Any]]:
    low, high, above = hyperparameter.minimum, hyperparameter.maximum, hyperparameter.above
    return [
        (low, column < (low if low is not None else 0)),
        (high, column > (high if high is not None else 0)),
        (above, column <= (above if above is not None else 0)),
    ]


def _item_type(wanted: Any) -> Any:
    """The type of a list's items; of a union that of its list."""
    parts = _union_parts(wanted)
    return next((typing.get_args(part)[0] for part in parts if typing.get_origin(part) is list), Any)


def _number_type(wanted: Any) -> type | None:
    """int or float where a number is wanted (also where it may be null), else None."""
    found = {part for part in _union_parts(wanted) if part is not type(None)}
    return int if found == {int} else float if found == {float} else None


def _union_parts(wanted: Any) -> tuple[Any, ...]:
    return typing.get_args(wanted) if typing.get_origin(wanted) in (typing.Union, types.UnionType) else (wanted,)
