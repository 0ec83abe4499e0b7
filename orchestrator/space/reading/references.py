"""Checks the names in expressions: each must be a field of the entry, and none may come back to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.document import Node, did_you_mean
from orchestrator.space.items import items_read
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.entry import ReadEntry
from orchestrator.space.reading.value import Written
from orchestrator.space.value import Listing

_Place = tuple[str, int | None]
"""A field, or an item of a list that is written out."""


def check_references(context: Context, entry: ReadEntry) -> None:
    """Reports unknown names and cycles in the expressions of one entry."""
    known, sound = {*entry.fields, *entry.written}, True
    for name, expressions in entry.written.items():
        for written in expressions:
            for missing in sorted(written.expression.names - known):
                sound = False
                hint = reference_hint(missing, known)
                context.error(written.node, written.path, f"unknown name `{missing}` in the expression of `{name}`", hint)
    if sound:
        _check_cycles(context, entry)


def reference_hint(missing: str, known: Iterable[str]) -> str:
    """A did-you-mean over full names, then over the last parts (``vocab_size`` for ``task.vocab_size``)."""
    names = list(known)
    near = did_you_mean(missing, names)
    by_leaf = {name.rpartition(".")[2]: name for name in names}
    near = by_leaf.get(missing) or near or by_leaf.get(did_you_mean(missing, by_leaf) or "")
    return f"did you mean `{near}`?" if near else "an expression sees the entry's own fields, `task.x` and `training.x`"


def _check_cycles(context: Context, entry: ReadEntry) -> None:
    needs = _needs(entry)
    reported: set[_Place] = set()
    for place in needs:
        cycle = _cycle_from(place, needs)
        if cycle and not reported & set(cycle):
            reported |= set(cycle)
            written = needs[place][0]
            message = f"the expressions go round in a circle: {' → '.join(map(_shown, cycle))}"
            context.error(written.node, written.path, message, "give one of them a value")


def _needs(entry: ReadEntry) -> dict[_Place, tuple[Written, set[_Place]]]:
    """For each place with expressions the first of them, and the places that they read."""
    needs: dict[_Place, tuple[Written, set[_Place]]] = {}
    for name, expressions in entry.written.items():
        for written in expressions:
            read = {place for needed in written.expression.names for place in _read(entry, written, needed)}
            for place in _places(entry, name, written.node):
                needs.setdefault(place, (written, set()))[1].update(read)
    return needs


def _places(entry: ReadEntry, name: str, node: Node) -> list[_Place]:
    """Where an expression of a field stands: in which items of the list (more than one through an alias), or in the field."""
    if not _items(entry, name):
        return [(name, None)]
    items = entry.nodes[name].items
    return [(name, index) for index, item in enumerate(items) if any(inner is node for _, inner in item.walk())]


def _read(entry: ReadEntry, written: Written, name: str) -> list[_Place]:
    size = _items(entry, name)
    if not size:
        return [(name, None)]
    positions = items_read(written.expression.text, name)
    wanted = range(size) if positions is None else {index % size for index in positions if -size <= index < size}
    return [(name, index) for index in wanted]


def _items(entry: ReadEntry, name: str) -> int:
    """The length of a list that is written out, whose items may read each other; 0 for any other field."""
    found = entry.fields.get(name)
    return len(found.value.items) if found is not None and isinstance(found.value, Listing) else 0


def _shown(place: _Place) -> str:
    name, index = place
    return name if index is None else f"{name}[{index}]"


def _cycle_from(start: _Place, needs: Mapping[_Place, tuple[Written, set[_Place]]]) -> list[_Place] | None:
    """The shortest way from ``start`` back to it, both ends included."""
    ways: list[list[_Place]] = [[start]]
    seen: set[_Place] = set()
    while ways:
        way = ways.pop(0)
        for place in sorted(needs[way[-1]][1] if way[-1] in needs else (), key=_shown):
            if place == start:
                return [*way, start]
            if place not in seen:
                seen.add(place)
                ways.append([*way, place])
    return None
