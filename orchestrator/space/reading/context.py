"""What all readers share: where mistakes go, and small checks of keys and types."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from typing import Any

from orchestrator.document import Diagnostics, Node, Source, did_you_mean
from orchestrator.document.node import Entry
from orchestrator.expression import Expression, ExpressionError, parse
from orchestrator.space.reading.files import FileFinder

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMGB%])")
_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "%": 1e-2}


class Mistake(Exception):
    """Reading stopped here; the mistake has been reported."""


class Context:
    """Collects diagnostics of one source and offers the checks that every reader needs."""

    def __init__(self, source: Source, diagnostics: Diagnostics, files: FileFinder | None = None) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.files = files or FileFinder()

    def error(self, node: Node, path: str, message: str, hint: str = "") -> None:
        self.diagnostics.add(node, path, message, hint)

    def unknown_key(self, entry: Entry, path: str, known: Iterable[str], what: str = "key") -> None:
        """An unknown key with a did-you-mean, or the list of what is known where nothing is alike."""
        names = sorted(known)
        near = did_you_mean(entry.key, names)
        hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(names)}"
        self.error(entry.key_node, path, f"unknown {what} `{entry.key}`", hint)

    def mapping(self, node: Node, path: str, what: str) -> bool:
        """Whether ``node`` is a mapping; null counts as an empty one."""
        if node.value is None or isinstance(node.value, dict):
            return True
        self.error(node, path, f"{what} must be a mapping, found {node.kind}", "write `key: value` lines below it")
        return False

    def expression(self, node: Node, path: str, text: str) -> Expression | None:
        """Parses an expression, reporting a mistake at its place."""
        try:
            return parse(text)
        except ExpressionError as mistake:
            place = self.source.position_within(node, node.text, max(0, node.text.find(text)) + mistake.offset)
            hint = getattr(mistake, "hint", "") or "an expression has numbers, text, field names, operators and a few functions"
            self.diagnostics.add(place, path, f"in the expression: {mistake.message}", hint)
            return None


def nearest_choice(value: Any, wanted: Any, otherwise: str) -> str:
    """A did-you-mean among the texts that a field allows; ``otherwise`` where none is alike."""
    near = did_you_mean(str(value), [text for text in _texts(wanted) if isinstance(text, str)])
    return f"did you mean `{near}`?" if near else otherwise


def _texts(wanted: Any) -> list[Any]:
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) is typing.Literal:
        return list(arguments)
    return [text for part in arguments for text in _texts(part)]


def quantity(value: Any) -> Any:
    """``4M``, ``500k`` and ``2%`` as numbers; anything else as it is."""
    matched = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if not matched:
        return value
    number = float(matched[1]) * _FACTORS[matched[2]]
    return round(number) if matched[2] != "%" and round(number, 6).is_integer() else number
