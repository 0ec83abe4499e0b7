"""Which configurations a space contains: from resolved values back to the dimensions that would have been drawn.

An old trial is kept by an edited space, or told to another sweep's sampler, when the space could have suggested it.
Every field of an old configuration is known, so that guards and expressions are evaluated on its values, and each field is read
on its own; what is drawn is then resolved again, which must give the same configuration.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.expression import Expression, ExpressionError, evaluate
from orchestrator.space.assignment import Assignment, Field, Infeasible, NotDrawn
from orchestrator.space.description import describe_dimension, describe_plain, describe_value, describe_window
from orchestrator.space.dimension import ROUNDING, ChoiceDimension, Dimension, IntegerDimension
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Computed, Constant, Listing, Repeated, Searched, Value, searched_parts
from trainables.files import identity

Drawn = dict[str, Any]
"""Values of the active dimensions by name, in the order of ``StudySpace.searched``."""

_SCOPES = {"": "model", "task.": "task", "training.": "training"}


@dataclass(frozen=True)
class Outside:
    """A space does not contain a configuration; ``reason`` is a short phrase such as ``dk = 100 lies outside int [8, 96]``."""

    reason: str


def find_home(
    spaces: Sequence[StudySpace], entry: str, architecture: str, configuration: Mapping[str, Mapping[str, Any]]
) -> tuple[StudySpace, Drawn] | Outside:
    """The first cell of ``entry`` that contains a configuration (see :func:`find_drawn`), with what is drawn there."""
    cells = [space for space in spaces if space.entry == entry]
    if not cells:
        return Outside(f"there is no entry {entry} here")
    if cells[0].architecture.name != architecture:
        return Outside(f"the entry {entry} is {architecture} there and {cells[0].architecture.name} here")
    known = _by_full_name(configuration)
    outside = None
    for cell in cells:
        if _off_grid(cell, known):
            continue
        found = find_drawn(cell, configuration)
        if not isinstance(found, Outside):
            return cell, found
        outside = outside or found
    return outside or Outside(_grid_reason(cells, known))


def find_drawn(space: StudySpace, configuration: Mapping[str, Mapping[str, Any]]) -> Drawn | Outside:
    """The assignment of the dimensions of ``space`` that resolves to ``configuration`` and meets every hard constraint.

    ``configuration`` has all values of the keys ``model``, ``task`` and ``training``; a field that it does not know yet has its
    default. Numbers are equal by value, 1 to 1.0. Of equal choices the one that is written alike is drawn, else the first.
    """
    known = _by_full_name(configuration)
    if unknown := [name for name in known if name not in space.fields]:
        return Outside(f"there is no field {unknown[0]} here, and it is {describe_plain(known[unknown[0]])} there")
    configured = {name: _configured(space, known, name) for name in space.fields}
    reading = _Reading(configured)
    try:
        for name, described in space.fields.items():
            reading.read(described.value, name, configured[name])
        drawn = {name: reading.drawn_values[name] for name in space.searched if name in reading.drawn_values}
        _confirm(space, drawn, configured)
    except _Unlike as difference:
        return Outside(str(difference))
    return drawn


def same_value(one: Any, other: Any) -> bool:
    """Whether two plain values are equal; whole and real numbers compare by value, truth values equal no number, and references
    to files by what they hold."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        both_whole = isinstance(one, int) and isinstance(other, int)
        return one == other or (not both_whole and math.isclose(one, other, rel_tol=ROUNDING))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, str) and isinstance(other, str):
        return identity(one) == identity(other)
    return type(one) is type(other) and bool(one == other)


def draws_of(dimension: Dimension, value: Any) -> list[Any]:
    """``value`` as ``dimension`` draws it: nothing where it cannot, one value (which may be null) where it can."""
    if isinstance(dimension, ChoiceDimension):
        return _chosen(dimension, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    if isinstance(dimension, IntegerDimension):
        return [int(value)] if float(value).is_integer() and dimension.contains(int(value)) else []
    drawn = dimension.drawn_for(float(value))
    return [] if drawn is None else [drawn]


class _Unlike(Exception):
    """The configuration differs from all that the space can be; the message is the reason."""


@dataclass
class _Reading:
    """Reads the fields of a configuration into ``drawn_values``; guards and expressions look at the configuration itself."""

    configured: Mapping[str, Any]
    drawn_values: Drawn = field(default_factory=dict)

    def evaluate(self, expression: Expression) -> Any:
        try:
            return evaluate(expression, self.configured.__getitem__)
        except ExpressionError as error:
            raise _Unlike(f"`{expression.text}` has no value here: {error.message}") from None

    def holds(self, expression: Expression) -> bool:
        try:
            return bool(self.evaluate(expression))
        except _Unlike:
            return False

    def drawn(self, dimension: Dimension) -> Any:
        return self.drawn_values[dimension.name]

    def read(self, value: Value, name: str, found: Any) -> None:
        """Reads ``found``, which stands at ``name``.

        Raises:
            _Unlike: ``value`` cannot be that.
        """
        match value:
            case Constant():
                _demand_same(name, found, value.value)
            case Computed():
                _demand_same(name, found, self.evaluate(value.expression), f" = {value.expression.text}")
            case Searched():
                self._read_searched(value, name, found)
            case Listing():
                self._read_listing(value, name, found)
            case Repeated():
                self._read_repeated(value, name, found)
            case _:
                raise TypeError(f"{name}: a {type(value).__name__} has no values to read")

    def _read_searched(self, searched: Searched, name: str, found: Any) -> None:
        dimension = searched.dimension
        if not searched.active(self):
            _demand_same(name, found, searched.default, ", where it is not searched")
            return
        drawn = draws_of(dimension, found)
        if not drawn:
            raise _Unlike(f"{name} = {describe_plain(found)} lies outside {describe_dimension(dimension)}")
        self.drawn_values[dimension.name] = drawn[0]

    def _read_listing(self, listing: Listing, name: str, found: Any) -> None:
        items = _items(listing, name, found)
        if len(items) != len(listing.items):
            raise _Unlike(f"{name} has {len(items)} items there and {len(listing.items)} here")
        for index, (item, value) in enumerate(zip(items, listing.items, strict=True)):
            self.read(value, f"{name}[{index}]", item)

    def _read_repeated(self, repeated: Repeated, name: str, found: Any) -> None:
        items = _items(repeated, name, found)
        self.read(repeated.length, f"the length of {name}", len(items))
        if repeated.equal and not all(same_value(item, items[0]) for item in items):
            raise _Unlike(f"the items of {name} are all equal here and {describe_plain(items)} there")
        if not repeated.equal and len(items) > len(repeated.items):
            raise _Unlike(f"{name} has {len(items)} items there and at most {len(repeated.items)} here")
        values = repeated.items[:1] if repeated.equal else repeated.items
        for index, (item, value) in enumerate(zip(items, values, strict=False)):
            self.read(value, f"{name}[{index}]", item)


def _confirm(space: StudySpace, drawn: Drawn, configured: Mapping[str, Any]) -> None:
    """Demands that what was read resolves to the configuration again, and meets every hard constraint."""
    assignment = Assignment(space.fields, drawn)
    try:
        for name, value in configured.items():
            _demand_same(name, value, assignment.lookup(name))
    except (Infeasible, NotDrawn) as error:
        raise _Unlike(f"has no value here: {error}") from None
    if not space.is_feasible(drawn):
        raise _Unlike(_broken_constraint(space, drawn))


def _broken_constraint(space: StudySpace, drawn: Drawn) -> str:
    assignment = Assignment(space.fields, drawn)
    try:
        for constraint in space.constraints:
            if not constraint.holds(assignment):
                return f"does not meet `{constraint.description}`"
        count = int(space.budget_count(assignment))
    except Infeasible as error:
        return f"has no value here: {error}"
    assert space.budget is not None
    return f"{space.budget.scope} parameters {count:,} outside {describe_window(space.budget)}"


def _by_full_name(configuration: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    scopes = _SCOPES.items()
    return {prefix + name: value for prefix, key in scopes for name, value in configuration.get(key, {}).items()}


def _configured(space: StudySpace, known: Mapping[str, Any], name: str) -> Any:
    """The value of a field; where it is not known its default, which an unwritten field has, the task's own included."""
    described = space.fields[name]
    if name in known:
        return _written_here(described, known[name])
    value = described.value
    return value.value if not described.written and isinstance(value, Constant) else described.hyperparameter.default


def _written_here(described: Field, found: Any) -> Any:
    """Of a nested model the mapping that this space has for the same model, where it has one: defaults may be written or not."""
    field, value = described.hyperparameter, described.value
    if field.nested is None or not isinstance(found, Mapping):
        return found
    here = [value.value] if isinstance(value, Constant) else []
    for part in searched_parts(value):
        here += part.dimension.choices if isinstance(part.dimension, ChoiceDimension) else ()
    wanted = field.identity(found)
    return next((one for one in [*here, field.default] if same_value(field.identity(one), wanted)), found)


def _demand_same(name: str, there: Any, here: Any, why: str = "") -> None:
    if not same_value(there, here):
        raise _Unlike(f"{name} is {describe_plain(there)} there and {describe_plain(here)}{why} here")


def _items(value: Value, name: str, found: Any) -> list[Any]:
    if not isinstance(found, (list, tuple)):
        raise _Unlike(f"{name} = {describe_plain(found)} lies outside {describe_value(value)}")
    return list(found)


def _chosen(dimension: ChoiceDimension, value: Any) -> list[Any]:
    """The first choice that is written alike (1 beside 1.0), else the first that is equal."""
    equal = [choice for choice in dimension.choices if same_value(choice, value)]
    text = json.dumps(value, sort_keys=True)
    return sorted(equal, key=lambda choice: json.dumps(choice, sort_keys=True) != text)[:1]


def _off_grid(cell: StudySpace, known: Mapping[str, Any]) -> list[str]:
    """The grid dimensions whose value in this cell is another one."""
    return [name for name, value in cell.grid.items() if not same_value(_configured(cell, known, name), value)]


def _grid_reason(cells: Sequence[StudySpace], known: Mapping[str, Any]) -> str:
    name = _off_grid(cells[0], known)[0]
    here = list({repr(cell.grid[name]): cell.grid[name] for cell in cells}.values())
    return f"{name} = {describe_plain(_configured(cells[0], known, name))} lies outside grid {describe_plain(here)}"
