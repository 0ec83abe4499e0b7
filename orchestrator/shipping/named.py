"""The files that a command names: in its arguments, and in the search spaces among them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.document import Diagnostics, Node, read_document
from orchestrator.shipping.shipment import ShippingError
from trainables.files import split_reference


def named_files(arguments: Sequence[str], root: Path) -> list[str]:
    """The files and folders in ``root`` that ``arguments`` name, relative to it, and those that the named search spaces name.

    A search space names a file by a path relative to its own folder or to ``root``, where the command will run; any text of it
    that is the path of something there counts. Absolute paths are left alone: they mean a place that the nodes see, too.

    Raises:
        ShippingError: an argument names something that is here, but outside of ``root``.
        SearchSpaceError: a search space is no YAML that memsweep reads.
    """
    given = [name for text in _texts(arguments) for name in _found(text, root, root)]
    for name in given:
        if name.startswith("../"):
            cure = "copy it there, or start from a folder above both"
            raise ShippingError(f"{name} lies outside of {root}, whose files are shipped: {cure}")
    spaces = [name for name in given if name.endswith((".yaml", ".yml")) and (root / name).is_file()]
    inner = [name for space in spaces for name in _named_by(root / space, root)]
    return list(dict.fromkeys([*given, *inner]))


def _texts(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments after the command, and the values in ``--option=value`` and ``path=value``."""
    for argument in arguments[1:]:
        yield argument
        yield argument.rpartition("=")[2]


def _named_by(space: Path, root: Path) -> Iterator[str]:
    diagnostics = Diagnostics(str(space))
    document = read_document(space, diagnostics)
    diagnostics.raise_if_any(document.source)
    for text in _scalars(document.root):
        for folder in (space.parent, root):
            yield from _found(split_reference(text)[0], folder, root)


def _scalars(node: Node | None) -> Iterator[str]:
    if node is None:
        return
    if isinstance(node.value, str):
        yield node.value
    for inner in [*node.items, *(entry.node for entry in node.entries.values())]:
        yield from _scalars(inner)


def _found(text: str, folder: Path, root: Path) -> Iterator[str]:
    """``text`` as a path in ``folder``, relative to ``root``, if it is the path of a file or folder there."""
    if not text or text.startswith(("-", "~")) or os.path.isabs(text) or set(text) <= {".", "/"}:
        return
    try:
        is_there = (folder / text).is_file() or (folder / text).is_dir()
    except (OSError, ValueError):
        return
    name = Path(os.path.relpath(folder / text, root)).as_posix()
    if is_there and name != ".":
        yield name
