"""Text to syntax tree. Python's own grammar reads the text; only whitelisted forms are translated; nothing is ever run."""

from __future__ import annotations

import ast
import math
import re
import warnings

from orchestrator.expression.errors import ExpressionError
from orchestrator.expression.functions import ARGUMENTS
from orchestrator.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Expression,
    Index,
    ListOf,
    Literal,
    Logical,
    Name,
    Not,
    Signed,
    Term,
)

LONGEST = 500
"""Characters of an expression."""
DEEPEST = 30
"""Levels of nesting."""
MOST_TERMS = 200

NAMESPACES = ("task", "training")
"""Prefixes of names: ``task.vocab_size``, ``training.lr``."""

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_ARITHMETIC: dict[type[ast.operator], str] = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"},
    **{ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"},
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    **{ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="},
    **{ast.In: "in", ast.NotIn: "not in"},
}
_REFUSED: dict[type[ast.AST], str] = {
    ast.IfExp: "'if … else' is not available; give the field a `when`, or use a choice",
    ast.Lambda: "'lambda' is not available",
    ast.NamedExpr: "':=' is not available",
    ast.JoinedStr: "f-strings are not available",
    ast.ListComp: "comprehensions are not available",
    ast.SetComp: "comprehensions are not available",
    ast.DictComp: "comprehensions are not available",
    ast.GeneratorExp: "comprehensions are not available",
    ast.Dict: "mappings are not available",
    ast.Set: "sets are not available; write a list",
    ast.Slice: "slices are not available; index one item",
    ast.Starred: "'*' cannot stand before a value",
    ast.BitAnd: "'&' is not available; write 'and'",
    ast.BitOr: "'|' is not available; write 'or'",
    ast.BitXor: "'^' is not available; write '**' for a power",
    ast.Invert: "'~' is not available; write 'not'",
    ast.Is: "'is' is not available; write '=='",
    ast.IsNot: "'is not' is not available; write '!='",
}
# A backslash could escape or continue; what does not print could hide.
_FORBIDDEN = re.compile(r"[\\\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_ASSIGNMENT = re.compile(r"(?<![<>=!:])=(?!=)")
_OPENING, _CLOSING = "([{", ")]}"


def parse(text: str) -> Expression:
    """The expression that a text denotes.

    Raises:
        ExpressionError: with the offset of the first thing that is not allowed.
    """
    _check_text(text)
    # Python's grammar takes neither blanks before an expression nor line breaks within; both come with folded YAML text.
    start = len(text) - len(text.lstrip())
    line = re.sub(r"[\t\n]", " ", text[start:])
    body = _syntax(line, start)
    translation = _Translation(line, start)
    root = translation.term(body, 1)
    comment = line.find("#", translation.characters(body.end_col_offset or 0))
    if comment >= 0:
        raise ExpressionError("comments are not available inside an expression", start + comment)
    return Expression(text, root, frozenset(translation.names))


def _check_text(text: str) -> None:
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression has at most {LONGEST} characters, this one has {len(text)}", LONGEST)
    if not text.strip():
        raise ExpressionError("the expression is empty")
    if bad := _FORBIDDEN.search(text):
        raise ExpressionError(f"the character {bad[0]!r} is not available", bad.start())
    depth = 0
    for offset, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if depth > DEEPEST:
            raise ExpressionError(f"nested deeper than {DEEPEST} levels", offset)


def _syntax(line: str, start: int) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(line, mode="eval").body
    except SyntaxError as error:
        hint = "; write '==' to compare" if _ASSIGNMENT.search(line) else ""
        message = f"not an expression: {error.msg.split('. Maybe')[0]}{hint}"
        raise ExpressionError(message, start + max(0, (error.offset or 1) - 1)) from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("not an expression that can be read", start) from None


class _Translation:
    """Turns Python's tree into ours, refusing what is not whitelisted."""

    def __init__(self, line: str, start: int) -> None:
        self._bytes = line.encode()
        self._start = start
        self._count = 0
        self.names: set[str] = set()

    def characters(self, byte_offset: int) -> int:
        return len(self._bytes[:byte_offset].decode())

    def term(self, node: ast.expr, depth: int) -> Term:
        offset = self._start + self.characters(node.col_offset)
        self._count += 1
        if depth > DEEPEST:
            raise ExpressionError(f"nested deeper than {DEEPEST} levels", offset)
        if self._count > MOST_TERMS:
            raise ExpressionError(f"an expression has at most {MOST_TERMS} parts", offset)
        if message := _REFUSED.get(type(node)):
            raise ExpressionError(message, offset)
        match node:
            case ast.Constant():
                return Literal(_literal(node.value, offset), offset=offset)
            case ast.Name() | ast.Attribute():
                return self._name(node, offset)
            case ast.List() | ast.Tuple():
                return ListOf(self._terms(node.elts, depth), offset=offset)
            case ast.Call():
                return self._call(node, offset, depth)
            case ast.Subscript():
                return Index(self.term(node.value, depth + 1), self.term(node.slice, depth + 1), offset=offset)
            case _:
                return self._operation(node, offset, depth)

    def _terms(self, nodes: list[ast.expr], depth: int) -> tuple[Term, ...]:
        return tuple(self.term(node, depth + 1) for node in nodes)

    def _operation(self, node: ast.expr, offset: int, depth: int) -> Term:
        match node:
            case ast.BinOp():
                operator = _allowed(_ARITHMETIC, node.op, offset)
                return Arithmetic(operator, *self._terms([node.left, node.right], depth), offset=offset)
            case ast.BoolOp():
                operator = "and" if isinstance(node.op, ast.And) else "or"
                return Logical(operator, self._terms(node.values, depth), offset=offset)
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.term(node.operand, depth + 1), offset=offset)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                operator = "-" if isinstance(node.op, ast.USub) else "+"
                return Signed(operator, self.term(node.operand, depth + 1), offset=offset)
            case ast.Compare():
                operators = tuple(_allowed(_COMPARISONS, operator, offset) for operator in node.ops)
                return Comparison(self._terms([node.left, *node.comparators], depth), operators, offset=offset)
        refused = _REFUSED.get(type(node.op)) if isinstance(node, ast.UnaryOp) else None
        raise ExpressionError(refused or "this form is not available in an expression", offset)

    def _name(self, node: ast.Name | ast.Attribute, offset: int) -> Term:
        written = self._bytes[node.col_offset : node.end_col_offset].decode()
        prefix, _, field = written.rpartition(".")
        if prefix and prefix not in NAMESPACES:
            raise ExpressionError("only task.NAME and training.NAME may have a dot", offset)
        # Python reads look-alike letters as the plain ones (NFKC); what is written must be what is read.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field) or "__" in field:
            raise ExpressionError(f"{written!r} is not a name: use letters without accents, digits and single '_'", offset)
        if not prefix and field in _CONSTANTS:
            return Literal(_CONSTANTS[field], offset=offset)
        if not prefix and field in NAMESPACES:
            raise ExpressionError(f"write {field}.NAME for a field of the {field}", offset)
        if not prefix and field in ARGUMENTS:
            raise ExpressionError(f"'{field}' is a function: write {field}(…)", offset)
        self.names.add(written)
        return Name(written, offset=offset)

    def _call(self, node: ast.Call, offset: int, depth: int) -> Term:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in ARGUMENTS or not self._bytes[node.col_offset :].startswith(name.encode()):
            raise ExpressionError(f"only these functions can be called: {', '.join(ARGUMENTS)}", offset)
        if node.keywords:
            raise ExpressionError("arguments cannot be named", offset)
        least, most = ARGUMENTS[name]
        if not least <= len(node.args) <= most:
            raise ExpressionError(f"{name} cannot take {len(node.args)} arguments", offset)
        return Call(name, self._terms(node.args, depth), offset=offset)


def _allowed(table: dict[type, str], operator: ast.AST, offset: int) -> str:
    if type(operator) not in table:
        raise ExpressionError(_REFUSED.get(type(operator), "this operator is not available"), offset)
    return table[type(operator)]


def _literal(value: object, offset: int) -> int | float | str | bool | None:
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, int) and value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    too_large = isinstance(value, (int, float))
    raise ExpressionError("the number is too large" if too_large else f"{value!r} is not available", offset)
