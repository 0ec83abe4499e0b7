"""``record.jsonl``: one event a line, each with a checksum; only the driver writes, nothing is ever changed.

A line is a JSON object whose last key is ``checksum``, the CRC-32 of the line up to that key. A line that a crash has cut
short can only be the last one: it is dropped (and cut off before the next append). Other damage is refused with its place.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Self

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two drivers on one sweep are not told apart there
    fcntl = None

_SEPARATOR = b',"checksum":"'


class JournalError(Exception):
    """The record is damaged before its last line; the message says where."""


class JournalInUse(JournalError):
    """Another living driver writes this record."""


class Journal:
    """Appends events to a record; opening an existing one first drops a torn last line.

    Raises:
        JournalInUse: another driver has it open (not found out on systems without file locks).
        JournalError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        try:
            _claim(self._file.fileno(), path)
            _, self._size = _scan(path)
        except JournalError:
            self._file.close()
            raise
        os.truncate(self._file.fileno(), self._size)

    def append(self, event: Mapping[str, Any], durable: bool = False) -> None:
        """Writes one event, from any thread; ``durable`` waits until it is on the disk.

        Raises:
            ValueError: the event holds NaN or infinity, which JSON cannot.
            OSError: the disk is full; nothing of the event is left in the record.
        """
        line = encode(event)
        with self._lock:
            self._write(line)
        if durable:
            os.fsync(self._file.fileno())

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            os.truncate(self._file.fileno(), self._size)
            raise
        self._size += written

    def close(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _claim(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise JournalInUse(f"another driver is at work on this sweep: it writes {path}") from None


def encode(event: Mapping[str, Any]) -> bytes:
    """One line of the record."""
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()[:-1]
    return body + _SEPARATOR + f"{zlib.crc32(body):08x}".encode() + b'"}\n'


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All events of a record in order; a torn last line is left out.

    Raises:
        JournalError: a line before the last is damaged, or the last one is whole and does not match its checksum.
    """
    return _scan(path)[0]


def _scan(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The events, and the number of bytes up to the end of the last sound line."""
    content = path.read_bytes()
    events: list[dict[str, Any]] = []
    offset = 0
    while offset < len(content):
        end = content.find(b"\n", offset)
        if end < 0:
            break
        events.append(_decode(content[offset:end], path, len(events) + 1, offset))
        offset = end + 1
    return events, offset


def _decode(line: bytes, path: Path, number: int, offset: int) -> dict[str, Any]:
    body, separator, tail = line.rpartition(_SEPARATOR)
    sound = separator and tail == f"{zlib.crc32(body):08x}".encode() + b'"}'
    if not sound:
        raise JournalError(f"{path}: line {number} (byte {offset}) does not match its checksum; restore the file from a copy")
    event: dict[str, Any] = json.loads(body + b"}")
    return event
