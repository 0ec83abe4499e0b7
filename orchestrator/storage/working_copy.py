"""The working copy of a stored sweep: what a driver, or a reader, has of it on this machine."""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.storage.lease import Lease
from orchestrator.storage.segments import Joined, join_segments
from orchestrator.sweep.folder import SweepFolder
from trainables.exhibits import EXHIBITS
from trainables.storage.folder import StoredFolder
from trainables.storage.prepared_inputs import fetch_prepared
from trainables.storage.run_place import TRIALS

_CHUNK = 2**20


def refresh_record(sweep: StoredFolder, lease: Lease, folder: SweepFolder, tell: Callable[[str], None]) -> Joined:
    """Brings ``record.jsonl`` to what the storage has. Where it is ahead, because its driver was lost before it could send the
    rest, it stays as it is; where another driver has gone on since, it is set aside.

    Raises:
        JournalError: segments are missing or damaged.
        StorageError: they cannot be read.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    partial = folder.record.with_suffix(".fetched")
    try:
        with partial.open("wb") as file:
            joined = join_segments(sweep, lease, file)
            file.flush()
            os.fsync(file.fileno())
        _take(partial, folder, tell)
    finally:
        partial.unlink(missing_ok=True)
    return joined


def _take(fetched: Path, folder: SweepFolder, tell: Callable[[str], None]) -> None:
    if not folder.record.exists():
        fetched.replace(folder.record)
        return
    here, there = folder.record.stat().st_size, fetched.stat().st_size
    if _agree(fetched, folder.record, min(here, there)):
        if there > here:
            fetched.replace(folder.record)
        return
    aside = folder.path.with_name(f"{folder.name}.overtaken-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    aside.mkdir()
    for path in (folder.record, folder.spool, folder.study_view):
        if path.exists():
            path.rename(aside / path.name)
    fetched.replace(folder.record)
    tell(f"another driver has gone on with {folder.name} since: what only this machine had recorded is kept in {aside}")


def _agree(first: Path, second: Path, size: int) -> bool:
    """Whether the first ``size`` bytes are the same."""
    if first.stat().st_size == second.stat().st_size:
        return filecmp.cmp(first, second, shallow=False)
    with first.open("rb") as one, second.open("rb") as other:
        for start in range(0, size, _CHUNK):
            length = min(_CHUNK, size - start)
            if one.read(length) != other.read(length):
                return False
    return True


def fetch_inputs(sweep: StoredFolder, folder: SweepFolder, names: Iterable[str]) -> None:
    """Prepared inputs that are not here and lie in the storage; others are left to be made.

    Raises:
        StorageError: one cannot be read, or is damaged.
    """
    for name in dict.fromkeys(names):
        fetch_prepared(sweep, name, folder.artifacts)


def fetch_exhibits(sweep: StoredFolder, folder: SweepFolder) -> None:
    """The exhibits of all runs that have ended.

    Raises:
        StorageError: one cannot be read.
    """
    for name in sweep.names(TRIALS):
        parts = name.split("/")
        if len(parts) > 3 and parts[2] == EXHIBITS and not (folder.path / name).exists():
            sweep.fetch(name, folder.path / name)
