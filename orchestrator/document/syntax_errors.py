"""What PyYAML says of a syntax error, in words of a user who did not mean to write a parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from yaml.error import MarkedYAMLError

from orchestrator.document.source import Position, Source

_CLOSING = {"'}'": "{", "']'": "["}
_TOKENS = {
    "<block mapping start>": "a mapping",
    "<block sequence start>": "a list",
    "<scalar>": "text",
    "<stream end>": "the end of the file",
    "?": "a key",
    "-": "a list item",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    position: Position
    message: str
    hint: str


def explain(error: MarkedYAMLError, source: Source) -> Explanation:
    """Position (of the cause where it can be told), message and hint of a scanner's or parser's error."""
    at = Position(error.problem_mark.line + 1, error.problem_mark.column + 1) if error.problem_mark else Position()
    since = Position(error.context_mark.line + 1, error.context_mark.column + 1) if error.context_mark else at
    problem = error.problem or "the text is not YAML"
    for pattern, rephrase in _REPHRASED:
        if match := re.search(pattern, problem):
            return rephrase(match, at, since, source)
    message = f"{error.context}: {problem}" if error.context else problem
    return Explanation(at, message, "see https://yaml.org/spec/1.2.2 for the syntax")


def _bad_start(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    if source.line(at.line)[at.column - 1 : at.column] == "\t":
        return Explanation(at, "a tab cannot be used for indentation", "indent with spaces")
    return Explanation(at, f"text cannot begin with {match[1]}", "put the text in quotes")


def _no_colon(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(since, "expected ':' after this key", "write `key: value`, with a space behind the colon")


def _no_mapping_here(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    hint = "put text that contains ': ' in quotes, end each key with ': ', and indent the line like its neighbours"
    return Explanation(at, "a ':' cannot stand here", hint)


def _no_item_here(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(at, "a list item cannot begin here", "begin each '- ' on a line of its own, indented like the others")


def _unclosed_quote(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(since, "the quote that opens here is never closed", "close it on the same line")


def _unclosed_bracket(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    opening, found = _CLOSING[match[1]], match[2]
    if found == "<stream end>":
        return Explanation(since, f"the '{opening}' that opens here is never closed", f"close it with {match[1]}")
    if found == "{" and source.line(at.line)[: at.column - 1].endswith("$"):
        start = Position(at.line, at.column - 1)
        return Explanation(start, "an expression must be quoted here", 'write "${…}", with the quotes')
    hint = f"a comma is missing, or the '{opening}' of line {since.line}, column {since.column} is not closed"
    return Explanation(at, f"expected ',' or {match[1]}, found {_token(found)}", hint)


def _bad_indentation(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    if match[1] in ("}", "]", ","):
        return Explanation(at, f"'{match[1]}' closes or separates nothing", "remove it, or open its bracket")
    hint = f"what belongs together begins in one column; this block began at line {since.line}, column {since.column}"
    return Explanation(at, f"the indentation does not fit: found {_token(match[1])}", hint)


def _unknown_escape(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(at, f"'\\' cannot be followed by {match[1]}", "write '\\\\' for a backslash, or use single quotes")


def _no_content(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(at, f"expected a value, found {_token(match[1])}", "write the value, or put it in quotes")


def _second_value(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(at, f"the document has ended here, found {_token(match[1])}", "write one top-level mapping, nothing else")


def _undefined_handle(match: re.Match[str], at: Position, since: Position, source: Source) -> Explanation:
    return Explanation(at, "tags such as '!name' are not allowed", "remove the tag; put text that begins with '!' in quotes")


def _token(found: str) -> str:
    return _TOKENS.get(found, f"'{found.strip('<>')}'")


_Rephrase = Callable[[re.Match[str], Position, Position, Source], Explanation]
_REPHRASED: tuple[tuple[str, _Rephrase], ...] = (
    (r"found character (.+) that cannot start any token", _bad_start),
    (r"could not find expected ':'", _no_colon),
    (r"mapping (?:values|keys) are not allowed here", _no_mapping_here),
    (r"sequence entries are not allowed here", _no_item_here),
    (r"found unexpected (?:end of stream|document separator)", _unclosed_quote),
    (r"expected ',' or ('[\]}]'), but got '(.+)'", _unclosed_bracket),
    (r"expected <block end>, but found '(.+)'", _bad_indentation),
    (r"found unknown escape character (.+)", _unknown_escape),
    (r"expected the node content, but found '(.+)'", _no_content),
    (r"expected '<document start>', but found '(.+)'", _second_value),
    (r"found undefined tag handle", _undefined_handle),
)
