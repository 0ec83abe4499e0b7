"""Checks the names in expressions: each must be a field of the entry, and none may come back to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.document import did_you_mean
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.entry import ReadEntry


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
    needs = {name: {n for w in written for n in w.expression.names} for name, written in entry.written.items()}
    reported: set[str] = set()
    for name in needs:
        cycle = _cycle_from(name, needs)
        if cycle and not reported & set(cycle):
            reported |= set(cycle)
            written = entry.written[name][0]
            message = f"the expressions go round in a circle: {' → '.join(cycle)}"
            context.error(written.node, written.path, message, "give one of them a value")


def _cycle_from(start: str, needs: Mapping[str, set[str]]) -> list[str] | None:
    """The shortest way from ``start`` back to it, both ends included."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop(0)
        for name in sorted(needs.get(way[-1], ())):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None
