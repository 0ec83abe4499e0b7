"""Inputs made once and shared: data, base models and datastores, each in a folder named by the fingerprint of its values."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.file_fields import with_paths
from trainables.fingerprint import fingerprint

if TYPE_CHECKING:
    from trainables.configuration import Configuration
    from trainables.task import Task

MANIFEST = "manifest.json"


def prepare_data(
    root: Path,
    task_type: type[Task],
    task: Configuration,
    elsewhere: Iterable[Path] = (),
    paths: Mapping[str, Path] | None = None,
) -> Path:
    """The prepared data of a task, made by :func:`prepare_once` where they are missing.

    ``paths`` gives the path of each file that ``task`` refers to; it is looked at only where data have to be made.

    Raises:
        FileGone: data are missing, and a file from which they are made is not there or has changed.
        RuntimeError: as for :func:`prepare_once`.
    """

    def make(folder: Path) -> None:
        task_type.prepare(with_paths(task, paths or {}), folder)

    return prepare_once(root, task_type.name, task_type.data_values(task), make, elsewhere)


def is_prepared(root: Path, task_type: type[Task], task: Configuration) -> bool:
    """Whether the data of a task are complete under ``root``."""
    return (data_folder(root, task_type, task) / MANIFEST).is_file()


def data_folder(root: Path, task_type: type[Task], task: Configuration) -> Path:
    """Where the prepared data of a task lie under ``root``, or would."""
    return _folder(root, task_type.name, task_type.data_values(task))


def prepare_once(
    root: Path,
    name: str,
    values: Mapping[str, Any],
    make: Callable[[Path], Mapping[str, Any] | None],
    elsewhere: Iterable[Path] = (),
) -> Path:
    """The folder ``root/{name}-{fingerprint}``, filled by ``make(folder)`` unless it is there already.

    Where one of the roots ``elsewhere`` has the same folder, its files are linked (copied where that is not possible) instead.

    What ``make`` returns stands in the manifest besides; plain values.

    It is filled under another name and renamed when complete, so a half-made folder is never seen. Of several processes that
    make the same folder at once, one keeps its work and the others take it.

    Raises:
        RuntimeError: a folder of that name is there without a manifest, so something else than this function put it there.
    """
    folder = _folder(root, name, values)
    if (folder / MANIFEST).is_file():
        return folder
    made = next((other / folder.name for other in elsewhere if (other / folder.name / MANIFEST).is_file()), None)
    if made is not None:
        make = functools.partial(_link_files, made)
    staging = root / f".{folder.name}.{uuid.uuid4().hex}"
    staging.mkdir(parents=True)
    try:
        more = make(staging) or {}
        manifest = {**more, "name": name, "values": values, "content": data_digest(made or staging)}
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        _write_through(staging)
        publish_folder(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def remove_unfinished(root: Path) -> None:
    """Removes what processes that were killed had begun under ``root``; only for who knows that nobody makes anything there."""
    for folder in root.glob(".*-*"):
        if re.fullmatch(r"\..+-[0-9a-f]{16}\.[0-9a-f]{32}", folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _folder(root: Path, name: str, values: Mapping[str, Any]) -> Path:
    return root / f"{name}-{fingerprint(values)}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """What stands in the manifest of a prepared folder; nothing where it cannot be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def data_digest(folder: Path) -> str:
    """16 hexadecimal digits over names and contents of the files of a prepared folder without its manifest, "" without files.

    Taken from the manifest where it is written there, else computed, once a process.
    """
    stored = read_manifest(folder).get("content")
    return stored if isinstance(stored, str) and re.fullmatch("([0-9a-f]{16})?", stored) else _content_digest(folder)


@functools.cache
def _content_digest(folder: Path) -> str:
    return content_digest(folder)


def content_digest(folder: Path) -> str:
    """As :func:`data_digest`, from the files themselves."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    files.pop(MANIFEST, None)
    digest = hashlib.sha256()
    for name in sorted(files):
        with files[name].open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()[:16] if files else ""


def _link_files(source: Path, folder: Path) -> Mapping[str, Any]:
    ignored = shutil.ignore_patterns(MANIFEST)
    shutil.copytree(source, folder, copy_function=_link_or_copy, dirs_exist_ok=True, ignore=ignored)
    return read_manifest(source)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def publish_folder(staging: Path, folder: Path) -> None:
    """Gives a complete prepared folder its name, unless somebody else was first.

    Raises:
        RuntimeError: a folder of that name is there without a manifest.
    """
    try:
        staging.rename(folder)
    except OSError as error:
        if not folder.exists():
            raise
        if not (folder / MANIFEST).is_file():
            raise RuntimeError(f"{folder} is incomplete (it has no {MANIFEST}): remove it, it will be made again") from error


def _write_through(folder: Path) -> None:
    """Puts every file on the disk before the rename does, or a power failure could leave a complete name on empty files."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
