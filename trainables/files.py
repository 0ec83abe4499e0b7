"""References to files and folders by name and content: ``y_w.csv#sha256=2629be5f0906f1c4``.

Results are known by what was read, so a configuration says which content it means, and not in which folder that lay.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MARK = "#sha256="
_DIGEST = re.compile(r"[0-9a-f]{16}")
_TICK_NS = 2_000_000_000
# No separator of folders, no control character, no half character, which no record could hold.
_FILE_NAME = re.compile("[^/\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]+")


def split_reference(text: str) -> tuple[str, str | None]:
    """The name (or path) and the digest, which is None in a text that is a path alone."""
    name, mark, digest = text.rpartition(_MARK)
    return (name, digest) if mark and name and _DIGEST.fullmatch(digest) else (text, None)


def is_file_name(name: str) -> bool:
    """Whether a reference may have this name."""
    return name not in (".", "..") and _FILE_NAME.fullmatch(name) is not None


class NoFiles(OSError):
    """A folder holds no files."""


def reference_to(path: Path) -> str:
    """The name of a file or folder with the first 16 hexadecimal digits of the SHA-256 of its content.

    The content of a folder are the names and contents of :func:`files_beneath`. As long as these have the same sizes and times,
    a folder is read once a process.

    Raises:
        NoFiles: a folder holds none.
        OSError: it cannot be read.
    """
    digest = _folder_digest(path) if path.is_dir() else _file_digest(path)
    return f"{path.name}{_MARK}{digest[:16]}"


def files_beneath(folder: Path) -> dict[str, Path]:
    """The regular files in a folder and its subfolders by relative name (with ``/``), sorted.

    What begins with a dot is left out. Links are followed, but each folder is entered once, so that no loop is endless.

    Raises:
        OSError: a folder cannot be listed.
    """
    return dict(sorted(_walk(folder, "", set())))


def _walk(folder: Path, prefix: str, entered: set[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as listed:
        entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_file():
            yield prefix + entry.name, Path(entry.path)
        elif entry.is_dir():
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", entered)


_Listing = tuple[tuple[str, int, int, int, int], ...]
"""Of each file its name, inode, size in bytes, and the times of its last changes in nanoseconds."""


def _folder_digest(folder: Path) -> str:
    listing = _listing(files_beneath(folder))
    if not listing:
        raise NoFiles("it holds no files")
    # What changes again within one tick of the file system's clock looks unchanged.
    settled = max(max(row[3:]) for row in listing) < time.time_ns() - _TICK_NS
    absolute = os.path.abspath(folder)
    return _listed_digest(absolute, listing) if settled else _listed_digest.__wrapped__(absolute, listing)


def _listing(files: Mapping[str, Path]) -> _Listing:
    rows = ((name, path.stat()) for name, path in files.items())
    return tuple((name, row.st_ino, row.st_size, row.st_mtime_ns, row.st_ctime_ns) for name, row in rows)


@functools.lru_cache(maxsize=256)
def _listed_digest(folder: str, listing: _Listing) -> str:
    digest = hashlib.sha256()
    for name, *_ in listing:
        digest.update(os.fsencode(name) + b"\0" + _file_digest(Path(folder, name)).encode() + b"\0")
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(text: str) -> str:
    """What decides results: the digest where there is one, else the text as it is."""
    _, digest = split_reference(text)
    return text if digest is None else f"{_MARK}{digest}"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file or folder that a search space names."""

    reference: str
    path: Path
    """Absolute; where it lay when it was found."""
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What configurations take from it (see :class:`trainables.configuration.DescribesFiles`), by the nested field."""


def shown_names(references: Iterable[str]) -> dict[str, str]:
    """References as people read them: the name alone, or with six digits where another content has the same name."""
    distinct = {reference: split_reference(reference) for reference in references}
    names = Counter(name for name, _ in distinct.values())
    return {reference: name if names[name] == 1 else f"{name}@{digest:.6}" for reference, (name, digest) in distinct.items()}
