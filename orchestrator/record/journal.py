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
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Self

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two drivers on one sweep are not told apart there
    fcntl = None

LONGEST_LINE = 32 * 2**20
"""Bytes of one event: an edit of a sweep names all its trials, at about 500 bytes each."""
CURE = "restore the file from a copy"

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
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record")
        self._synchronizing: Future[None] | None = None
        try:
            _claim(self._file.fileno(), path)
            self._count, self._size = _extent(path)
        except JournalError:
            self._file.close()
            raise
        os.truncate(self._file.fileno(), self._size)

    def append(self, event: Mapping[str, Any], durable: bool = False) -> int:
        """Writes one event, from any thread, and returns how many there are now; ``durable`` waits until it is on the disk.

        Raises:
            ValueError: the event holds NaN or infinity, which JSON cannot.
            OSError: the disk is full; nothing of the event is left in the record.
        """
        line = encode(event)
        with self._lock:
            self._write(line)
            self._count += 1
            position = self._count
        if durable:
            os.fsync(self._file.fileno())
        return position

    def synchronize_soon(self) -> None:
        """Has a thread put on the disk what was written so far: a slow disk must not hold up whoever decides.

        Raises:
            OSError: the last attempt failed.
        """
        latest = self._synchronizing
        if latest is not None and latest.done():
            latest.result()
        if latest is None or latest.done() or latest.running():
            self._synchronizing = self._pool.submit(os.fsync, self._file.fileno())

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            os.truncate(self._file.fileno(), self._size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size += written

    def close(self) -> None:
        if not self._file.closed:
            self._pool.shutdown()
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
    """All events of a record in order; a torn last line is left out. What they say is not looked at (``checked_events`` does).

    Raises:
        JournalError: a line before the last is damaged, or the last one is whole and does not match its checksum.
    """
    return [event for _, event in read_lines(path)]


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """As :func:`read_journal`, each event with the byte at which its line begins."""
    start = 0
    for end, event in _sound_lines(path):
        yield start, event
        start = end


def _sound_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each event with the byte behind its line."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
            if len(line) > LONGEST_LINE:
                raise JournalError(f"{place(path, number, offset)} is longer than {LONGEST_LINE // 2**20} MiB; {CURE}")
            if not line.endswith(b"\n"):
                return
            event = _decode(line[:-1], path, number, offset)
            offset += len(line)
            yield offset, event


def place(path: Path, number: int, offset: int) -> str:
    """A line of a record, for messages."""
    return f"{path}: line {number} (byte {offset})"


def _extent(path: Path) -> tuple[int, int]:
    """The number of sound lines, and of bytes up to the end of the last one."""
    lines, sound = 0, 0
    for end, _ in _sound_lines(path):
        lines, sound = lines + 1, end
    return lines, sound


def _decode(line: bytes, path: Path, number: int, offset: int) -> dict[str, Any]:
    body, separator, tail = line.rpartition(_SEPARATOR)
    sound = separator and tail == f"{zlib.crc32(body):08x}".encode() + b'"}'
    if not sound:
        raise JournalError(f"{place(path, number, offset)} does not match its checksum; {CURE}")
    try:
        event: dict[str, Any] = _DECODER.decode((body + b"}").decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise JournalError(f"{place(path, number, offset)} is no event: {reason}; {CURE}") from None
    return event


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
