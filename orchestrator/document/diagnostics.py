"""Mistakes of a document: collected with their positions, told as a compiler tells them."""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.document.source import Located, Source

_MARGIN = "    "
_LONGEST_LINE = 120
_LONGEST_WORD = 64


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One mistake. ``line`` and ``column`` count from 1; ``path`` names the place in the document, such as ``model.dim``."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str | int]:
        """A dictionary with exactly the keys file, line, column, path, message and hint."""
        return dataclasses.asdict(self)


class Diagnostics:
    """Collects the mistakes of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: set[Diagnostic] = set()

    def add(self, where: Located, path: str, message: str, hint: str = "") -> None:
        """Records a mistake at ``where`` (a node or a position); the same one twice counts once."""
        self._found.add(Diagnostic(self.file, where.line, where.column, path, message, hint))

    @property
    def ok(self) -> bool:
        return not self._found

    @property
    def found(self) -> list[Diagnostic]:
        """All mistakes, in the order of the text."""
        return sorted(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self, source: Source) -> None:
        """Raises:
        SearchSpaceError: where anything has been recorded.
        """
        if not self.ok:
            raise SearchSpaceError(self.found, source)


class SearchSpaceError(Exception):
    """A search space cannot be used; ``diagnostics`` says why, the text of the error shows them in place."""

    def __init__(self, diagnostics: Sequence[Diagnostic], source: Source) -> None:
        self.diagnostics = list(diagnostics)
        self.source = source
        super().__init__(render(diagnostics, source))


def render(diagnostics: Iterable[Diagnostic], source: Source, limit: int = 50) -> str:
    """The diagnostics as a compiler shows them, each with its line, a caret and a hint; at most ``limit`` of them."""
    found = list(diagnostics)
    blocks = [_render_one(diagnostic, source) for diagnostic in found[:limit]]
    if len(found) > limit:
        blocks.append(f"… and {len(found) - limit} more")
    return "\n".join(blocks)


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is most like ``word``, or None where none is near."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word[:_LONGEST_WORD].lower(), by_lower_case, n=1)
    return by_lower_case[close[0]] if close else None


def _render_one(diagnostic: Diagnostic, source: Source) -> str:
    place = f"{diagnostic.file}:{diagnostic.line}:{diagnostic.column}"
    lines = [_printable(f"{place}: error: {diagnostic.message}")]
    text = source.line(diagnostic.line)
    if text.strip():
        lines += _render_line(text, diagnostic.column)
    if diagnostic.hint:
        lines.append(_printable(f"{_MARGIN}hint: {diagnostic.hint}"))
    return "\n".join(lines)


def _render_line(text: str, column: int) -> list[str]:
    start = max(0, column - 1 - _LONGEST_LINE // 2) if len(text) > _LONGEST_LINE else 0
    shown = _printable(text[start : start + _LONGEST_LINE])
    before = shown[: column - 1 - start]
    return [_MARGIN + shown.rstrip(), _MARGIN + " " * sum(map(_cells, before)) + "^"]


def _printable(text: str) -> str:
    """Without characters that could steer a terminal or reorder what it shows."""
    return "".join(character if character.isprintable() else _substitute(character) for character in text)


def _substitute(character: str) -> str:
    return " " if character in "\t\n\r" else "\N{REPLACEMENT CHARACTER}"


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
