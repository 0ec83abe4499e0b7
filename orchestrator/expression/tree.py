"""The syntax tree of an expression: what is not here cannot be expressed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A part of an expression; ``offset`` counts characters of the expression's text from 0."""

    offset: int


@dataclass(frozen=True, slots=True)
class Literal(Term):
    value: int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Name(Term):
    """A field: ``dk``, ``task.vocab_size``, ``training.lr``."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf(Term):
    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Signed(Term):
    """Unary plus or minus."""

    operator: str
    operand: Term


@dataclass(frozen=True, slots=True)
class Not(Term):
    operand: Term


@dataclass(frozen=True, slots=True)
class Arithmetic(Term):
    """``operator`` is one of + - * / // % **."""

    operator: str
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Logical(Term):
    """``operator`` is ``and`` or ``or``."""

    operator: str
    operands: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Comparison(Term):
    """A chain such as ``a < b <= c``: one operator less than operands."""

    operands: tuple[Term, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index(Term):
    target: Term
    position: Term


@dataclass(frozen=True, slots=True)
class Call(Term):
    function: str
    arguments: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; ``names`` are the fields that it reads."""

    text: str
    root: Term
    names: frozenset[str]
