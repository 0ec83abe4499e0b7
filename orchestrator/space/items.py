"""Which items of a list an expression reads: ``levels[0] // 4`` reads the first one alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields

from orchestrator.expression import parse
from orchestrator.expression.tree import Index, Literal, Name, Signed, Term


@functools.lru_cache(maxsize=4096)
def items_read(text: str, name: str) -> frozenset[int] | None:
    """The positions at which the expression ``text`` reads the list ``name``, negative ones from the end; None: all of it."""
    positions = set(_reads(parse(text).root, name))
    return None if None in positions else frozenset(position for position in positions if position is not None)


def _reads(term: Term, name: str) -> Iterator[int | None]:
    if isinstance(term, Index) and isinstance(term.target, Name) and term.target.name == name:
        position = _constant(term.position)
        yield position
        if position is None:
            yield from _reads(term.position, name)
        return
    if isinstance(term, Name) and term.name == name:
        yield None
    for part in _parts(term):
        yield from _reads(part, name)


def _constant(term: Term) -> int | None:
    if isinstance(term, Signed) and term.operator in "+-":
        value = _constant(term.operand)
        return value if value is None or term.operator == "+" else -value
    is_whole = isinstance(term, Literal) and isinstance(term.value, int) and not isinstance(term.value, bool)
    return term.value if is_whole else None  # type: ignore[attr-defined]


def _parts(term: Term) -> Iterator[Term]:
    for field in fields(term):
        value = getattr(term, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Term):
                yield part
