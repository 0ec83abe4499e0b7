"""A value of a document together with its position."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool | None

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_/-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key: value`` of a mapping; ``key_node`` holds the position of the key."""

    key: str
    key_node: Node
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping, as it was resolved, with where it starts (1-based line and column).

    ``text`` is a scalar as it was written, without quotes (``1e-4``); of a list or a mapping it is empty.
    """

    value: Scalar | list[Node] | dict[str, Entry]
    line: int = 1
    column: int = 1
    text: str = ""

    @property
    def kind(self) -> str:
        """What it is, in words for a message: mapping, list, text, integer, number, boolean or null."""
        if self.value is None:
            return "null"
        return _KINDS[type(self.value)]

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries of a mapping by key, in the order of the text; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The items of a list; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    def get(self, key: str) -> Node | None:
        """The value under ``key``; None where this is no mapping or lacks the key."""
        entry = self.entries.get(key)
        return entry.node if entry else None

    def plain(self) -> Any:
        """The same as plain Python scalars, lists and dictionaries."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        return self.value

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """This node and all within it, each with its path, in the order of the text."""
        yield path, self
        for position, item in enumerate(self.items):
            yield from item.walk(child_path(path, position))
        for key, entry in self.entries.items():
            yield from entry.node.walk(child_path(path, key))


_KINDS: dict[type, str] = {
    **{dict: "mapping", list: "list", str: "text"},
    **{bool: "boolean", int: "integer", float: "number"},
}


def child_path(path: str, key: str | int) -> str:
    """The path of a value inside the value at ``path``: ``model.dim``, ``choice[0]``, ``model["odd key"]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
