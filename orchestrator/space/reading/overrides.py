"""``--set path=value``: replaces values of a document from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.document import Diagnostics, Entry, Node, Source, parse_value
from orchestrator.space.reading.context import Context


class OverrideError(ValueError):
    """A ``--set`` that cannot be understood."""


def apply_overrides(context: Context, root: Node, overrides: Sequence[str]) -> Node:
    """The document with every ``path=value`` set, in order; a path that is not there yet is made.

    Raises:
        OverrideError: an override has no ``=``, its value is no YAML, or its path leads through a value.
    """
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise OverrideError(f"--set {override}: write path=value, such as training.epochs=4")
        root = _set(root, path.split("."), _parsed(override, text), override)
    return root


def _parsed(override: str, text: str) -> Node:
    diagnostics = Diagnostics("--set")
    node = parse_value(Source("--set", text), diagnostics)
    if node is None or not diagnostics.ok:
        reason = diagnostics.found[0].message if diagnostics.found else "no value"
        raise OverrideError(f"--set {override}: {reason}")
    return node


def _set(node: Node, path: list[str], value: Node, override: str) -> Node:
    if not path:
        return _placed(value, node)
    if node.value is not None and not isinstance(node.value, dict):
        raise OverrideError(f"--set {override}: `{path[0]}` lies inside a {node.kind}, which has no keys")
    key, entries = path[0], dict(node.entries)
    old = entries.get(key)
    inner = old.node if old else Node(None, node.line, node.column)
    entries[key] = Entry(key, old.key_node if old else inner, _set(inner, path[1:], value, override))
    return Node(entries, node.line, node.column, node.text)


def _placed(node: Node, place: Node) -> Node:
    """``node`` at the position of what it replaces, so that a mistake in it points into the file."""
    value = node.value
    if isinstance(value, list):
        value = [_placed(item, place) for item in value]
    elif isinstance(value, dict):
        value = {k: Entry(k, _placed(e.key_node, place), _placed(e.node, place)) for k, e in value.items()}
    return Node(value, place.line, place.column, node.text)
