"""The text that diagnostics point into."""

from __future__ import annotations

import bisect
import functools
import re
from dataclasses import dataclass
from typing import Protocol

LINE_BREAK = re.compile(r"\r\n|\n|\r")


class Located(Protocol):
    """Anything with a 1-based line and column: a position, a node."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text; line and column count characters from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Source:
    """A named text."""

    name: str
    text: str

    @functools.cached_property
    def lines(self) -> list[str]:
        return LINE_BREAK.split(self.text)

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in LINE_BREAK.finditer(self.text))]

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its line break; empty outside the text."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    def position(self, index: int) -> Position:
        """The position of the character ``index``, counted from 0."""
        line = bisect.bisect_right(self._starts, index)
        return Position(line, index - self._starts[line - 1] + 1)

    def position_within(self, start: Located, text: str, offset: int) -> Position:
        """The position of character ``offset`` of a one-line scalar ``text`` that starts at ``start``, behind its quote if any.

        Where the scalar is written otherwise (folded, escaped, behind an anchor) the position of its start.
        """
        found = self.line(start.line).find(text, start.column - 1, start.column + len(text))
        return Position(start.line, start.column if found < 0 else found + 1 + offset)
