"""``record/`` in a sweep's storage: the record in segments, which joined are ``record.jsonl`` byte for byte.

``NUMBER.OWNER.START.jsonl`` holds the bytes from START. Only a driver's latest segment grows: it is written anew, whole, until it
has reached :data:`SEGMENT_BYTES`; so a long sweep has few of them, and one that cannot be written costs nothing that was there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.record import JournalError
from orchestrator.storage.lease import Lease
from trainables.storage.folder import StoredFolder

RECORD = "record"
SEGMENT_BYTES = 2**20
_NAME = re.compile(r"record/(?P<number>\d{6,9})\.(?P<owner>[0-9a-f]{12})\.(?P<start>\d{1,15})\.jsonl")
_AT_ONCE = 16


@dataclass(frozen=True)
class Segment:
    number: int
    owner: str
    start: int
    """The byte of the record at which it begins."""

    @property
    def name(self) -> str:
        return f"{RECORD}/{self.number:06d}.{self.owner}.{self.start}.jsonl"


@dataclass(frozen=True)
class Joined:
    """What the segments came to."""

    segments: int
    """The number of the last one."""
    size: int
    """Bytes."""


def join_segments(sweep: StoredFolder, lease: Lease, target: IO[bytes]) -> Joined:
    """Writes the record into ``target``. What drivers wrote after they had lost the sweep is left out.

    Raises:
        JournalError: a segment is missing or too short.
        StorageError: one cannot be read.
    """
    # Listed before they are read: only the last one of the list can have grown in between.
    segments = {(segment.number, segment.owner): segment for segment in _listed(sweep)}
    last, size = 0, 0
    for owner, until, end in [*((link.owner, link.segments, link.size) for link in lease.before), (lease.owner, None, None)]:
        chain = list(_chain(segments, owner, last, until))
        for segment, content in _contents(sweep, chain):
            if segment.start != size:
                raise JournalError(
                    f"{sweep}/{segment.name} begins at byte {segment.start}, what is before it ends at {size}: {_CURE}"
                )
            content = content if end is None else content[: end - size]
            target.write(content)
            last, size = segment.number, size + len(content)
        if end is not None and (size, last) != (end, until):
            raise JournalError(f"{sweep}/{RECORD}: the record has {size} bytes where {end} were written by `{owner}`: {_CURE}")
    return Joined(last, size)


_CURE = "segments are missing or damaged; restore the folder from a copy"


def _listed(sweep: StoredFolder) -> Iterator[Segment]:
    for name in sweep.names(RECORD):
        match = _NAME.fullmatch(name)
        if match:
            yield Segment(int(match["number"]), match["owner"], int(match["start"]))


def _chain(segments: dict[tuple[int, str], Segment], owner: str, last: int, until: int | None) -> Iterator[Segment]:
    number = last + 1
    while (until is None or number <= until) and (number, owner) in segments:
        yield segments[number, owner]
        number += 1


def _contents(sweep: StoredFolder, segments: list[Segment]) -> Iterator[tuple[Segment, bytes]]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for first in range(0, len(segments), _AT_ONCE):  # so many are in memory at once
            some = segments[first : first + _AT_ONCE]
            for segment, content in zip(some, pool.map(lambda one: sweep.read(one.name), some), strict=True):
                if content is None:
                    raise JournalError(f"{sweep}/{segment.name} is gone: {_CURE}")
                yield segment, content


class SegmentWriter:
    """Brings the growing record of one driver into the storage. ``joined`` is what lies there already."""

    def __init__(self, sweep: StoredFolder, owner: str, record: Path, joined: Joined) -> None:
        self._sweep = sweep
        self._record = record
        self._open = Segment(joined.segments + 1, owner, joined.size)
        self.sent = joined.size
        """Bytes of the record that lie in the storage."""

    @property
    def behind(self) -> int:
        """Bytes of the record that do not."""
        return max(0, self._record.stat().st_size - self.sent) if self._record.exists() else 0

    def send_next(self) -> bool:
        """Sends what the open segment still takes, in whole lines; returns whether there was anything.

        Raises:
            StorageError: it could not be sent; the storage has what it had.
            OSError: the record cannot be read.
        """
        content = self._content()
        end = self._open.start + len(content)
        if end <= self.sent:
            return False
        self._sweep.write(self._open.name, content)
        self.sent = end
        if len(content) >= SEGMENT_BYTES:
            self._open = Segment(self._open.number + 1, self._open.owner, end)
        return True

    def _content(self) -> bytes:
        """From the start of the open segment, to the end of the line with which it is full."""
        if not self._record.exists():
            return b""
        lines: list[bytes] = []
        size = 0
        with self._record.open("rb") as file:
            file.seek(self._open.start)
            while size < SEGMENT_BYTES and (line := file.readline()).endswith(b"\n"):
                lines.append(line)
                size += len(line)
        return b"".join(lines)
