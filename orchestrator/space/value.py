"""Values of fields: what the YAML says a field is, resolved lazily against an assignment of the dimensions.

Everything resolves in two ways with the same code: for one candidate (plain Python values) and for many at once
(NumPy arrays, one element a candidate). What cannot be done for many at once raises :class:`NotVectorisable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from orchestrator.expression import Expression, NotVectorisable
from orchestrator.space.dimension import Dimension


class Lookup(Protocol):
    """Where values find the others: field names and dimensions of one assignment."""

    def evaluate(self, expression: Expression) -> Any: ...

    def holds(self, expression: Expression) -> Any: ...

    def drawn(self, dimension: Dimension) -> Any: ...


class Value(Protocol):
    def resolve(self, assignment: Lookup) -> Any: ...

    def parts(self) -> Iterator[Value]:
        """This value and all inside it."""
        ...


@dataclass(frozen=True)
class Constant:
    value: Any

    def resolve(self, assignment: Lookup) -> Any:
        return self.value

    def parts(self) -> Iterator[Value]:
        yield self


@dataclass(frozen=True)
class Computed:
    """``"${…}"``: an expression over the entry's fields."""

    expression: Expression

    def resolve(self, assignment: Lookup) -> Any:
        return assignment.evaluate(self.expression)

    def parts(self) -> Iterator[Value]:
        yield self


@dataclass(frozen=True)
class ExpressionGuard:
    """``when: "…"``; an expression that has no value does not hold."""

    expression: Expression

    def holds(self, assignment: Lookup) -> Any:
        return assignment.holds(self.expression)


@dataclass(frozen=True)
class LengthGuard:
    """An element of a list of variable length is there only while the length exceeds its index."""

    length: Value
    index: int

    def holds(self, assignment: Lookup) -> Any:
        return self.length.resolve(assignment) > self.index


Guard = ExpressionGuard | LengthGuard


@dataclass(frozen=True)
class Searched:
    """A dimension; where one of its guards does not hold it is inactive and the field has ``default``."""

    dimension: Dimension
    guards: tuple[Guard, ...] = ()
    default: Any = None

    def active(self, assignment: Lookup) -> Any:
        """Whether it is searched in this assignment (a truth value, or an array of them)."""
        active: Any = True
        for guard in self.guards:
            active = active & guard.holds(assignment)
            if active is False:
                return False
        return active

    def resolve(self, assignment: Lookup) -> Any:
        active = self.active(assignment)
        if isinstance(active, bool):
            return assignment.drawn(self.dimension) if active else self.default
        drawn = np.asarray(assignment.drawn(self.dimension))
        default: Any = self.default
        if drawn.dtype == object or not isinstance(default, (bool, int, float, str)):
            drawn, default = drawn.astype(object), np.empty((), dtype=object)
            default[()] = self.default
        return np.where(active, drawn, default)

    def parts(self) -> Iterator[Value]:
        yield self


@dataclass(frozen=True)
class Listing:
    """A list written out, each element a value of its own."""

    items: tuple[Value, ...]

    def resolve(self, assignment: Lookup) -> list[Any]:
        return [item.resolve(assignment) for item in self.items]

    def parts(self) -> Iterator[Value]:
        yield self
        for item in self.items:
            yield from item.parts()


@dataclass(frozen=True)
class Repeated:
    """``{list: VALUE, length: VALUE}``: as many elements as ``length`` says, each drawn on its own, or all equal."""

    items: tuple[Value, ...]
    length: Value
    equal: bool = False

    def resolve(self, assignment: Lookup) -> list[Any]:
        length = self.length.resolve(assignment)
        if isinstance(length, np.ndarray):
            raise NotVectorisable("a list of variable length")
        if self.equal:
            return [self.items[0].resolve(assignment)] * int(length)
        return [item.resolve(assignment) for item in self.items[: int(length)]]

    def parts(self) -> Iterator[Value]:
        yield self
        yield from self.length.parts()
        for item in self.items:
            yield from item.parts()


def searched_parts(value: Value) -> Iterator[Searched]:
    return (part for part in value.parts() if isinstance(part, Searched))


def is_derived(value: Value) -> bool:
    """Whether the value, or something inside it, is computed, so that it is known only once dimensions are."""
    return any(isinstance(part, Computed) for part in value.parts())
