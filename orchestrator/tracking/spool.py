"""A durable queue on disk: append-only segments of checksummed lines, deleted once delivered."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from orchestrator.tracking.operations import Operation, decode, encode, outside

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two processes on one spool are not told apart there
    fcntl = None

SEGMENT_BYTES = 4 * 2**20
"""A segment that reached this size during an outage is closed, which bounds what one flush holds in memory."""

_SEGMENT_NAME = re.compile(r"\d{8}\.jsonl")


class SpoolInUseError(RuntimeError):
    """Another living process delivers from this folder."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The intact operations of one segment and the number of torn or damaged lines that were dropped."""

    operations: list[Operation]
    damaged: int


def read_segment(path: Path) -> Segment:
    """Reads a segment; a line without its newline, or whose checksum differs, is dropped and counted."""
    *lines, tail = path.read_bytes().split(b"\n")
    decoded = [decode(line) for line in lines]
    intact = [operation for operation in decoded if operation is not None]
    return Segment(intact, len(lines) - len(intact) + bool(tail))


class Spool:
    """Segments ``NNNNNNNN.jsonl`` in a folder: one is appended to, the closed ones wait for delivery, oldest first.

    ``append`` may be called from any thread and survives the death of the process; ``synchronize`` and ``rotate``, called by
    the delivering thread, make what was appended survive the loss of power too. What the store refuses for good goes to
    ``rejected.jsonl`` and is never deleted.

    Raises:
        SpoolInUseError: if another process holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_descriptor = _lock_folder(folder)
        self._mutex = threading.Lock()
        self._closed = sorted(path for path in folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
        self._next_number = int(self._closed[-1].stem) + 1 if self._closed else 0
        self._active: tuple[Path, int] | None = None
        left = [read_segment(path) for path in self._closed]
        self._pending = sum(len(segment.operations) for segment in left)
        self.damaged = sum(segment.damaged for segment in left)

    @property
    def pending(self) -> int:
        """Number of operations that are not delivered, those left by earlier processes included."""
        return self._pending

    def append(self, operation: Operation) -> None:
        """Writes one operation to the active segment.

        Raises:
            OSError: if the disk is full or unreachable; the segment is closed then, so that the torn line stays its last.
        """
        line = encode(operation)
        with self._mutex:
            _, descriptor = self._active = self._active or self._open_segment()
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                self._close_active()
                raise
            self._pending += 1

    def rotate(self) -> None:
        """Closes the active segment, if there is one, so that it can be delivered."""
        with self._mutex:
            duplicate = self._duplicate_active()
            self._close_active()
        _synchronize(duplicate)

    def synchronize(self) -> None:
        """Puts the active segment on the disk; a large one is closed."""
        with self._mutex:
            duplicate = self._duplicate_active()
            if duplicate is not None and os.fstat(duplicate).st_size >= SEGMENT_BYTES:
                self._close_active()
        _synchronize(duplicate)

    def closed_segments(self) -> list[Path]:
        """The segments that wait for delivery, oldest first."""
        with self._mutex:
            return list(self._closed)

    def read(self, path: Path) -> Segment:
        """The operations of a closed segment that may be delivered. An artifact that lies outside the sweep's folder, the one
        around the spool's, is rejected: a spool may come with a stranger's sweep, and name any file of this machine."""
        segment = read_segment(path)
        reasons = [outside(operation, self.folder.parent) for operation in segment.operations]
        for operation, reason in zip(segment.operations, reasons, strict=True):
            if reason is not None:
                self.reject(operation.run, operation.payload, reason)
        kept = [operation for operation, reason in zip(segment.operations, reasons, strict=True) if reason is None]
        with self._mutex:
            self._pending -= len(segment.operations) - len(kept)
        return Segment(kept, segment.damaged)

    def discard(self, path: Path, operations: int) -> None:
        """Deletes a closed segment after the delivery of its ``operations``."""
        with self._mutex:
            self._closed.remove(path)
            self._pending -= operations
        path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Drops what earlier processes left, before anything is appended."""
        with self._mutex:
            left, self._closed, self._pending = self._closed, [], 0
        for path in left:
            path.unlink(missing_ok=True)

    def reject(self, run: str, content: object, reason: str) -> None:
        """Keeps what the store will never take, with the reason, out of the way of everything else."""
        line = json.dumps({"run": run, "content": content, "reason": reason}, default=str)
        with (self.folder / "rejected.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        """Closes the active segment and lets another process have the folder."""
        self.rotate()
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def _open_segment(self) -> tuple[Path, int]:
        path = self.folder / f"{self._next_number:08d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._next_number += 1
        return path, descriptor

    def _close_active(self) -> None:
        if self._active is not None:
            path, descriptor = self._active
            os.close(descriptor)
            self._closed.append(path)
            self._active = None

    def _duplicate_active(self) -> int | None:
        return None if self._active is None else os.dup(self._active[1])


def _lock_folder(folder: Path) -> int | None:
    if fcntl is None:
        return None
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise SpoolInUseError(f"{folder} is in use by another process that delivers to MLflow") from None
        return None  # a network file system without locks
    return descriptor


def _synchronize(descriptor: int | None) -> None:
    # Outside the mutex: a slow disk must never hold up the control loop's next append.
    if descriptor is not None:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
