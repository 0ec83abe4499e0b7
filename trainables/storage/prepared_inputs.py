"""Prepared inputs in a storage: sent by who has made them, fetched by each machine once, and compared with their digest."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from trainables.prepared import MANIFEST, content_digest, publish_folder, read_manifest
from trainables.storage.errors import StorageError
from trainables.storage.folder import StoredFolder
from trainables.storage.names import is_sound
from trainables.storage.run_place import ARTIFACTS


def send_prepared(sweep: StoredFolder, folder: Path) -> None:
    """Sends a complete prepared folder, its manifest last: a folder without one counts as absent.

    Raises:
        StorageError: a file cannot be sent, or has a name that no storage could give back.
        OSError: a file cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    for path in [*files, folder / MANIFEST]:
        name = f"{ARTIFACTS}/{folder.name}/{path.relative_to(folder).as_posix()}"
        if not is_sound(name):
            raise StorageError(f"{path} has a name that cannot be kept in a storage: it is hidden, or has odd characters")
        sweep.send(path, name)


def is_sent(sweep: StoredFolder, name: str) -> bool:
    """Whether the prepared folder is complete in the storage."""
    return sweep.modified_s(f"{ARTIFACTS}/{name}/{MANIFEST}") is not None


def fetch_prepared(sweep: StoredFolder, name: str, artifacts: Path) -> bool:
    """Fetches a prepared folder below ``artifacts`` unless it is there; False where the storage does not have it.

    Raises:
        StorageError: it cannot be read, or its files are not those of its manifest.
    """
    if (artifacts / name / MANIFEST).is_file():
        return True
    if not is_sent(sweep, name):
        return False
    staging = artifacts / f".{name}.{uuid.uuid4().hex}"
    staging.mkdir(parents=True)
    try:
        below = f"{ARTIFACTS}/{name}/"
        for file in sweep.names(below.rstrip("/")):
            sweep.fetch(file, staging / file.removeprefix(below))
        _compare(sweep, name, staging)
        publish_folder(staging, artifacts / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def _compare(sweep: StoredFolder, name: str, staging: Path) -> None:
    told = read_manifest(staging).get("content")
    found = content_digest(staging)
    if told != found:
        raise StorageError(
            f"{sweep}/{ARTIFACTS}/{name} is not what its {MANIFEST} says ({found or 'no file'} instead of {told}): "
            "remove that folder, and it will be made again"
        )
