"""Values of fields: what the YAML says a field is, resolved lazily against an assignment of the dimensions.

Everything resolves in two ways with the same code: for one candidate (plain Python values) and for many at once
(NumPy arrays, one element a candidate). What cannot be done for many at once raises :class:`NotVectorisable`, and
:class:`NotUniform` where groups of candidates can be done at once: those with lists of equal length, say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from orchestrator.expression import Expression, NotVectorisable
from orchestrator.space.dimension import Dimension

LONGEST_LIST = 64


class Infeasible(Exception):
    """A computed value of this candidate has no meaning: a division by zero, half a layer, a negative width."""


class NotUniform(NotVectorisable):
    """Candidates of equal code can be done at once; there are at least two codes.

    ``codes`` is an integer array of shape (N,), one element a candidate.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes
        super().__init__("a list or an object differs from candidate to candidate")


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
        length = self.length.resolve(assignment)
        if not _is_number(length):
            raise Infeasible(f"the length of a list is a number, got {length!r}")
        return length > self.index


Guard = ExpressionGuard | LengthGuard


@dataclass(frozen=True)
class Searched:
    """A dimension; where one of its guards does not hold it is inactive and the field has ``default``."""

    dimension: Dimension
    guards: tuple[Guard, ...] = ()
    default: Any = None

    def active(self, assignment: Lookup) -> Any:
        """Whether it is searched in this assignment: a truth value, or an array where candidates differ."""
        active: Any = True
        for guard in self.guards:
            active = _settled(active & guard.holds(assignment))
            if active is False:
                return False
        return active

    def resolve(self, assignment: Lookup) -> Any:
        active = self.active(assignment)
        if active is False:
            return self.default
        drawn = assignment.drawn(self.dimension)
        if active is True:
            return _one_object(drawn) if isinstance(drawn, np.ndarray) and drawn.dtype == object else drawn
        column = np.asarray(drawn)
        if column.dtype == object or not isinstance(self.default, (bool, int, float, str)):
            raise NotUniform(active.astype(np.int64))
        return np.where(active, column, self.default)

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
        length = _whole_length(_one_number(self.length.resolve(assignment)))
        if self.equal:
            return [self.items[0].resolve(assignment)] * length
        return [item.resolve(assignment) for item in self.items[:length]]

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


def _settled(active: Any) -> Any:
    """A truth value where an array of them says the same of all candidates."""
    if not isinstance(active, np.ndarray):
        return bool(active)
    return bool(active[0]) if len(active) and (active == active[0]).all() else active


def _one_object(column: np.ndarray) -> Any:
    """The object that all candidates have; equal ones come from one list of choices, so that identity tells them apart."""
    identities = np.fromiter(map(id, column), dtype=np.int64, count=len(column))
    if (identities != identities[0]).any():
        raise NotUniform(np.unique(identities, return_inverse=True)[1])
    return column[0]


def _one_number(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if (value != value[0]).any():
        raise NotUniform(np.unique(value, return_inverse=True)[1])
    return value[0].item()


def _whole_length(value: Any) -> int:
    """Raises Infeasible where a computed length is none."""
    if _is_number(value) and value in range(1, LONGEST_LIST + 1):
        return int(value)
    raise Infeasible(f"the length of a list is a whole number from 1 to {LONGEST_LIST}, got {value!r}")


def _is_number(value: Any) -> bool:
    """Whether it is a number or a column of them; truth values are none."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "if"
    return isinstance(value, (int, float)) and not isinstance(value, bool)
