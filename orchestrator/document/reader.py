"""Reads a YAML file into nodes; whatever is wrong with it becomes a diagnostic, never a traceback."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import Event

from orchestrator.document.builder import Builder, DocumentRefused
from orchestrator.document.diagnostics import Diagnostics
from orchestrator.document.node import Node
from orchestrator.document.source import LINE_BREAK, Position, Source
from orchestrator.document.syntax_errors import explain

MOST_BYTES = 64 * 1024
"""A document is at most so large."""

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
# Control characters and surrogates, and the three that YAML 1.1 takes for line breaks and editors do not.
_FORBIDDEN = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read: its text and, unless it could not be parsed, its top-level mapping."""

    source: Source
    root: Node | None


def read_document(path: str | os.PathLike[str], diagnostics: Diagnostics) -> Document:
    """Reads and parses a file.

    Mistakes go to ``diagnostics``. Where the structure could be read all the same (a duplicate key, a tag), the root is
    given too, so that the caller can report what else is wrong.
    """
    name = os.fspath(path)
    try:
        data = _read_bytes(name)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _report_undecodable(error, diagnostics)
        return Document(Source(name, error.object.decode("utf-8", "replace")), None)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        diagnostics.add(Position(), "", f"cannot read the file: {reason}", "check the path")
        return Document(Source(name, ""), None)
    source = Source(name, text.removeprefix(_BYTE_ORDER_MARK))
    return Document(source, parse_document(source, diagnostics))


def parse_document(source: Source, diagnostics: Diagnostics) -> Node | None:
    """The top-level mapping of a YAML text; None where there is none. Mistakes go to ``diagnostics``."""
    root = parse_value(source, diagnostics)
    if root is None or isinstance(root.value, dict):
        return root
    diagnostics.add(root, "", f"the top level must be a mapping, found {root.kind}", "write `key: value` lines")
    return None


def parse_value(source: Source, diagnostics: Diagnostics) -> Node | None:
    """The one value of a YAML text, of any kind; None where it cannot be parsed. Mistakes go to ``diagnostics``."""
    if not _acceptable(source, diagnostics):
        return None
    builder = Builder(source, diagnostics)
    try:
        for event in _events(source, diagnostics):
            builder.feed(event)
    except DocumentRefused:
        return None
    if builder.root is None:
        diagnostics.add(Position(), "", "the file is empty", "`memsweep list` shows what can be swept")
    return builder.root


def _read_bytes(name: str) -> bytes:
    """The content, one byte more than allowed at most; a device or pipe is refused before it is opened, for it may block."""
    kind = os.stat(name).st_mode
    if stat.S_ISDIR(kind):
        raise OSError("it is a directory")
    if not stat.S_ISREG(kind):
        raise OSError("it is not a regular file")
    with Path(name).open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _report_undecodable(error: UnicodeDecodeError, diagnostics: Diagnostics) -> None:
    before = LINE_BREAK.split(error.object[: error.start].decode("utf-8"))
    position = Position(len(before), len(before[-1]) + 1)
    message = f"the file is not UTF-8 text: byte 0x{error.object[error.start]:02x}"
    diagnostics.add(position, "", message, "save the file in the encoding UTF-8")


def _acceptable(source: Source, diagnostics: Diagnostics) -> bool:
    if len(source.text) > MOST_BYTES or len(source.text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        diagnostics.add(Position(), "", f"the file is larger than {MOST_BYTES // 1024} KiB", "split the sweep into several")
        return False
    if bad := _FORBIDDEN.search(source.text):
        message = f"the character U+{ord(bad[0]):04X} is not allowed"
        diagnostics.add(source.position(bad.start()), "", message, "remove it; in text write it as an escape in double quotes")
        return False
    return True


def _events(source: Source, diagnostics: Diagnostics) -> Iterator[Event]:
    loader = yaml.SafeLoader(source.text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]
    except MarkedYAMLError as error:
        explanation = explain(error, source)
        diagnostics.add(explanation.position, "", explanation.message, explanation.hint)
        raise DocumentRefused from error
    except (YAMLError, ValueError, OverflowError) as error:
        # PyYAML converts the numbers of escapes and directives unchecked.
        mark = loader.get_mark()
        position = Position(mark.line + 1, mark.column + 1)
        hint = "escapes end with \\U0010FFFF; the only directive worth writing is %YAML 1.2"
        diagnostics.add(position, "", "the number of this escape or directive is out of range", hint)
        raise DocumentRefused from error
    finally:
        loader.dispose()
