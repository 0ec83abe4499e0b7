"""``record.jsonl``: one event a line, each with a checksum; only the driver writes, nothing is ever changed.

A line is a JSON object whose last key is ``checksum``, the CRC-32 of the line up to that key. A line that a crash has cut
short can only be the last one: it is dropped (and cut off before the next append). Other damage is refused with its place.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEPARATOR = b',"checksum":"'


class JournalError(Exception):
    """The record is damaged before its last line; the message says where."""


class Journal:
    """Appends events to a record; opening an existing one first drops a torn last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            _, sound = _scan(path)
            os.truncate(path, sound)
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._lock = threading.Lock()

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
        os.fsync(self._file.fileno())
        self._file.close()


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
