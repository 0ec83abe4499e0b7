"""A folder behind a URI: whole files are written, read, listed, moved and removed; nothing is ever seen half-written."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.storage.errors import StorageError, explained
from trainables.storage.location import Location
from trainables.storage.names import is_sound, sound

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_CHUNK = 8 * 2**20
_GOOGLE_PATIENCE_S = 30
_RENAMING = ("local", "hdfs")
"""File systems on which a rename is cheap and atomic, and a file that is being written can be seen."""


class StoredFolder:
    """A folder of a pyarrow file system. Names are relative, with slashes; a file may be read, sent or removed from any thread.

    An object store makes an object visible once it is whole; elsewhere a file is written under a hidden name and renamed. A
    writer that fails may still leave a short object, so whatever matters carries a checksum of its own.

    Every method raises StorageError where the file system fails.
    """

    def __init__(self, location: Location, file_system: FileSystem) -> None:
        """``file_system`` has the folder as its root (pyarrow's SubTreeFileSystem)."""
        self.location = location
        self._system = file_system
        base: Any = getattr(file_system, "base_fs", file_system)
        self._renames = base.type_name in _RENAMING
        self._local = Path(str(getattr(file_system, "base_path", "/"))) if base.type_name == "local" else None

    def __str__(self) -> str:
        return str(self.location)

    def child(self, name: str) -> StoredFolder:
        """A folder below this one."""
        from pyarrow.fs import SubTreeFileSystem

        base: Any = self._system
        path = posixpath.join(base.base_path, sound(name))
        return type(self)(self.location.child(name), SubTreeFileSystem(path, base.base_fs))

    def read(self, name: str) -> bytes | None:
        """The content; None where there is no such file."""
        with self._told(name):
            self._refuse_links(name)
            try:
                with self._system.open_input_stream(sound(name)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None
        raise AssertionError("not reached")

    def write(self, name: str, content: bytes) -> None:
        with self._told(name), self._replaced(name) as target, self._system.open_output_stream(target) as stream:
            stream.write(content)

    def send(self, path: Path, name: str) -> None:
        """Copies a local file; as :meth:`write`."""
        with (
            path.open("rb") as file,
            self._told(name),
            self._replaced(name) as target,
            self._system.open_output_stream(target) as stream,
        ):
            shutil.copyfileobj(file, stream, _CHUNK)

    def fetch(self, name: str, path: Path) -> bool:
        """Copies a file to ``path``, whole or not at all; False where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with self._told(name):
                self._refuse_links(name)
                with self._system.open_input_stream(sound(name)) as stream, partial.open("xb") as file:
                    shutil.copyfileobj(stream, file, _CHUNK)
            partial.replace(path)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        finally:
            partial.unlink(missing_ok=True)
        return True

    def names(self, below: str = "") -> list[str]:
        """The files below a folder of this one, at any depth, in order; what has an unsound name, or is a link, is left out."""
        with self._told(below):
            if below and self._is_behind_link(below):
                return []
            return sorted(name for name in self._walk(below) if is_sound(name))
        raise AssertionError("not reached")

    def folders(self) -> list[str]:
        """The folders directly in this one, in order."""
        from pyarrow.fs import FileSelector, FileType

        with self._told(""):
            found = self._system.get_file_info(FileSelector("", allow_not_found=True))
            names = (entry.path.strip("/") for entry in found if entry.type == FileType.Directory)
            return sorted(name for name in names if is_sound(name))
        raise AssertionError("not reached")

    def modified_s(self, name: str) -> float | None:
        """When a file was written, by the clock of the storage, in s; None where there is none."""
        with self._told(name):
            found = self._system.get_file_info(sound(name))
            return None if found.mtime_ns is None else found.mtime_ns / 1e9
        raise AssertionError("not reached")

    def move(self, source: str, target: str) -> None:
        """What is at ``target`` is replaced; where ``source`` is gone nothing happens."""
        with self._told(source), contextlib.suppress(FileNotFoundError):
            self._refuse_links(source)
            self._refuse_links(target)
            if self._system.get_file_info(source).type.name == "NotFound":  # each object store says so in another way
                return
            self._make_parent(target)
            self._system.move(source, target)

    def remove(self, name: str) -> None:
        """A file that is gone is as good as removed."""
        with self._told(name), contextlib.suppress(FileNotFoundError):
            self._refuse_links(name)
            self._system.delete_file(sound(name))

    def remove_below(self, folder: str) -> None:
        """Every file below a folder, and the folder."""
        for name in self.names(folder):
            self.remove(name)
        if self._local is not None and not self._is_behind_link(folder):
            shutil.rmtree(self._local / folder, ignore_errors=True)

    def require(self) -> None:
        """Demands the bucket; where folders have to be made, makes this one."""
        with self._told(""):
            base: Any = self._system
            path = str(base.base_path).rstrip("/")
            if self._renames:
                base.base_fs.create_dir(path, recursive=True)
            elif base.base_fs.get_file_info(path.partition("/")[0]).type.name == "NotFound":
                raise StorageError(f"{self.location}: there is no such bucket: create it, or mend the URI")

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Errors of the file system as StorageError; those of local files are left as they are."""
        try:
            yield
        except StorageError:
            raise
        except (OSError, ValueError, NotImplementedError) as error:
            raise explained(f"{self.location}/{name}".rstrip("/"), error) from error

    @contextlib.contextmanager
    def _replaced(self, name: str) -> Iterator[str]:
        """The name under which a file is written; it becomes ``name`` in the end."""
        self._refuse_links(name)
        self._make_parent(name)
        if not self._renames:
            yield name
            return
        folder, _, last = name.rpartition("/")
        partial = posixpath.join(folder, f".{last}.{uuid.uuid4().hex}")
        try:
            yield partial
            self._system.move(partial, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self._system.delete_file(partial)
            raise

    def _make_parent(self, name: str) -> None:
        if self._renames:
            base: Any = self._system
            base.base_fs.create_dir(posixpath.dirname(posixpath.join(base.base_path, name)), recursive=True)

    def _walk(self, below: str) -> Iterator[str]:
        """Level by level where links could lead away, or in a circle."""
        from pyarrow.fs import FileSelector, FileType

        recursive = self._local is None
        for found in self._system.get_file_info(FileSelector(below, recursive=recursive, allow_not_found=True)):
            name = found.path.strip("/")
            if self._local is not None and (self._local / name).is_symlink():
                continue
            if found.type == FileType.File:
                yield name
            elif not recursive and found.type == FileType.Directory and is_sound(name):
                yield from self._walk(name)

    def _refuse_links(self, name: str) -> None:
        if self._is_behind_link(name):
            raise StorageError(f"{self.location}/{name} is a link, or lies behind one: put the file itself there")

    def _is_behind_link(self, name: str) -> bool:
        """Whether a link leads from this folder to ``name``; object stores have none."""
        if self._local is None:
            return not sound(name)
        base = os.path.realpath(self._local)
        return os.path.realpath(os.path.join(base, sound(name))) != os.path.normpath(os.path.join(base, name))


def open_folder(location: Location) -> StoredFolder:
    """The folder at a URI, which may not exist yet; nothing is written.

    Raises:
        StorageError: the file system cannot be had, or says that there is no such bucket.
    """
    base, path = _file_system(location.uri)
    from pyarrow.fs import SubTreeFileSystem

    return StoredFolder(location, SubTreeFileSystem(path, base))


@functools.lru_cache(maxsize=64)
def _file_system(uri: str) -> tuple[FileSystem, str]:
    """Once for each URI: to look up the region of a bucket takes a request."""
    try:
        from pyarrow.fs import FileSystem
    except ImportError as error:
        raise StorageError(f"a storage behind a URI needs pyarrow: pip install pyarrow ({error})") from error
    try:
        system, path = FileSystem.from_uri(_with_patience(uri))
    except (OSError, ValueError, NotImplementedError) as error:
        raise explained(uri.partition("?")[0], error) from error
    return system, path


def _with_patience(uri: str) -> str:
    """Google's client tries for 15 minutes, in silence, where it has no credentials or no network."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={_GOOGLE_PATIENCE_S}"
