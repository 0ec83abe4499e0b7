"""Builds nodes from parser events, without recursion and within limits that are checked as the events arrive."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import NoReturn, cast

from yaml.error import Mark
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from orchestrator.document.core_schema import resolve
from orchestrator.document.diagnostics import Diagnostics, did_you_mean
from orchestrator.document.node import Entry, Node, Scalar, child_path
from orchestrator.document.source import Located, Position, Source

DEEPEST = 32
"""Lists and mappings are nested at most so deep, aliases expanded."""
MOST_NODES = 10_000
"""Keys, values, lists and mappings of a document, aliases expanded."""
LONGEST_SCALAR = 4096
"""Characters of one scalar."""

_TAG = re.compile(r"!\S*")
_SURROGATE = re.compile("[\ud800-\udfff]")


class DocumentRefused(Exception):
    """The reason is in the diagnostics; nothing more can be read."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A finished node with what an alias that repeats it costs."""

    node: Node
    size: int = 1
    height: int = 0


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come."""

    container: list[Node] | dict[str, Entry]
    start: Position
    anchor: str | None
    size: int = 1
    height: int = 1
    key: Node | None = None
    key_refused: bool = False

    @property
    def awaits_key(self) -> bool:
        return isinstance(self.container, dict) and self.key is None


@dataclass(slots=True)
class Builder:
    """Takes events by :meth:`feed`; the finished document is ``root``.

    Raises (from ``feed``):
        DocumentRefused: a limit is passed, or a second document begins.
    """

    source: Source
    diagnostics: Diagnostics
    root: Node | None = None
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, _Part | None] = field(default_factory=dict)
    _count: int = 0

    def feed(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent) and self.root is not None:
            self._refuse(_start(event), "a second document begins here", "keep one document a file; remove the '---'")
        if isinstance(event, NodeEvent):
            self._node(event)
        elif isinstance(event, (SequenceEndEvent, MappingEndEvent)):
            self._close()

    def _node(self, event: NodeEvent) -> None:
        self._check_tag(event)
        if isinstance(event, AliasEvent):
            self._finish(self._alias(event))
        elif isinstance(event, ScalarEvent):
            part = _Part(self._scalar(event))
            self._anchor(event.anchor, part)
            self._finish(part)
        elif isinstance(event, (SequenceStartEvent, MappingStartEvent)):
            self._begin(event)

    def _begin(self, event: SequenceStartEvent | MappingStartEvent) -> None:
        start = _start(event)
        self._check_depth(start, len(self._open) + 1)
        self._anchor(event.anchor, None)
        self._open.append(_Open([] if isinstance(event, SequenceStartEvent) else {}, start, event.anchor))

    def _close(self) -> None:
        closed = self._open.pop()
        node = Node(closed.container, closed.start.line, closed.start.column)
        part = _Part(node, closed.size, closed.height)
        self._anchor(closed.anchor, part)
        self._finish(part, counted=1)

    def _finish(self, part: _Part, counted: int | None = None) -> None:
        """Puts a finished node into what is open around it. A collection's content has been counted as it came."""
        self._count += part.size if counted is None else counted
        if self._count > MOST_NODES:
            hint = "aliases count as often as they are used" if self._anchors else "split the sweep into several"
            self._refuse(part.node, f"the document has more than {MOST_NODES} values", hint)
        if not self._open:
            self.root = part.node
            return
        parent = self._open[-1]
        parent.size += part.size
        parent.height = max(parent.height, part.height + 1)
        if isinstance(parent.container, list):
            parent.container.append(part.node)
        elif parent.awaits_key:
            parent.key, parent.key_refused = part.node, not self._acceptable_key(part.node, parent.container)
        else:
            self._put(parent, parent.container, part.node)

    def _put(self, parent: _Open, mapping: dict[str, Entry], node: Node) -> None:
        if parent.key is not None and not parent.key_refused:
            key = str(parent.key.value)
            mapping[key] = Entry(key, parent.key, node)
        parent.key = None

    def _acceptable_key(self, node: Node, mapping: dict[str, Entry]) -> bool:
        path = self._path()
        if not isinstance(node.value, str):
            hint = f'put it in quotes: "{node.text}"' if node.text else "write the key as text"
            self.diagnostics.add(node, path, f"a key must be text, found {node.kind}", hint)
            return False
        if node.value == "<<" and self.source.line(node.line)[node.column - 1 :].startswith("<<"):
            hint = "YAML 1.2 has none; repeat the keys, or move what is shared to the top-level model, task or training"
            self.diagnostics.add(node, path, "merge keys ('<<') are not allowed", hint)
            return False
        if node.value in mapping:
            first = mapping[node.value].key_node
            message = f"the key '{node.value}' is written twice; first at line {first.line}, column {first.column}"
            self.diagnostics.add(node, child_path(path, node.value), message, "keep one of them")
            return False
        return True

    def _scalar(self, event: ScalarEvent) -> Node:
        start = _start(event)
        if len(event.value) > LONGEST_SCALAR:
            self._refuse(start, f"the text is longer than {LONGEST_SCALAR} characters", "shorten it")
        value: Scalar = event.value
        if not event.style:
            try:
                value = resolve(event.value)
            except ValueError as error:
                self.diagnostics.add(start, self._value_path(), str(error), "put it in quotes if it is text")
        if isinstance(value, str) and _SURROGATE.search(value):
            self.diagnostics.add(
                start, self._value_path(), "the text holds half of a surrogate pair", "write \\UXXXXXXXX instead"
            )
            value = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
        return Node(value, start.line, start.column, event.value)

    def _alias(self, event: AliasEvent) -> _Part:
        start, name = _start(event), str(event.anchor)
        if name not in self._anchors:
            near = did_you_mean(name, self._anchors)
            hint = f"did you mean '*{near}'?" if near else "put text that begins with '*' in quotes"
            self._refuse(start, f"the alias '*{name}' is not defined", hint)
        part = self._anchors[name]
        if part is None:
            self._refuse(start, f"the alias '*{name}' stands inside what it names", "write the value out")
        self._check_depth(start, len(self._open) + part.height)
        return dataclasses.replace(part, node=dataclasses.replace(part.node, line=start.line, column=start.column))

    def _anchor(self, name: str | None, part: _Part | None) -> None:
        if name is not None:
            self._anchors[name] = part

    def _check_tag(self, event: NodeEvent) -> None:
        if getattr(event, "tag", None) is None:
            return
        written = _TAG.search(self.source.text, _mark(event).index)
        position = self.source.position(written.start()) if written else _start(event)
        message = f"tags are not allowed: {written[0]}" if written else "tags are not allowed"
        self.diagnostics.add(position, self._value_path(), message, "remove the tag")

    def _check_depth(self, where: Position, depth: int) -> None:
        if depth > DEEPEST:
            self._refuse(where, f"values are nested deeper than {DEEPEST} levels", "flatten the structure")

    def _refuse(self, where: Located, message: str, hint: str) -> NoReturn:
        self.diagnostics.add(where, self._path(), message, hint)
        raise DocumentRefused

    def _value_path(self) -> str:
        """The path of the value (or key) that comes next."""
        return _extended(self._path(), self._open[-1]) if self._open else ""

    def _path(self) -> str:
        """The path of the innermost open list or mapping."""
        path = ""
        for around in self._open[:-1]:
            path = _extended(path, around)
        return path


def _extended(path: str, around: _Open) -> str:
    if isinstance(around.container, list):
        return child_path(path, len(around.container))
    return path if around.key is None else child_path(path, around.key.text)


def _start(event: Event) -> Position:
    mark = _mark(event)
    return Position(mark.line + 1, mark.column + 1)


def _mark(event: Event) -> Mark:
    return cast(Mark, event.start_mark)
