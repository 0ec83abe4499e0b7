"""Storages on the local disk for tests, also ones that fail."""

from __future__ import annotations

from pathlib import Path

from orchestrator.record.journal import encode
from orchestrator.storage.lease import Lease
from orchestrator.storage.segments import join_segments
from trainables.storage import StorageError, StoredFolder, open_folder, parse_location


def stored(path: Path) -> StoredFolder:
    """A folder behind a ``file://`` URI: pyarrow's LocalFileSystem behind SubTreeFileSystem."""
    return open_folder(parse_location(path.as_uri()))


class Failing(StoredFolder):
    """A storage that goes away at a given moment, before or after it has done what it was asked for."""

    operations_left: int = 10**9
    done_at_last: bool = False

    @classmethod
    def at(cls, path: Path) -> Failing:
        sound = stored(path)
        return cls(sound.location, sound._system)

    def write(self, name: str, content: bytes) -> None:
        if self.operations_left > 0 or (self.operations_left == 0 and self.done_at_last):
            super().write(name, content)
        self._count()

    def send(self, path: Path, name: str) -> None:
        self._count()
        super().send(path, name)

    def read(self, name: str) -> bytes | None:
        self._count()
        return super().read(name)

    def names(self, below: str = "") -> list[str]:
        self._count()
        return super().names(below)

    def _count(self) -> None:
        self.operations_left -= 1
        if self.operations_left < 0:
            raise StorageError("the storage is away")


def line(number: int, size: int = 20) -> bytes:
    return encode({"kind": "result", "number": number, "text": "x" * size})


def joined_record(sweep: StoredFolder, lease: Lease, path: Path) -> bytes:
    with path.open("wb") as file:
        join_segments(sweep, lease, file)
    return path.read_bytes()
