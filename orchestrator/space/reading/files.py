"""Finds the files that a search space names, and knows each by its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.document import did_you_mean
from trainables.files import NamedFile, is_file_name, reference_to, split_reference

_MOST_LISTED = 1000


class FileMistake(Exception):
    """A text names no file that can be used."""

    def __init__(self, message: str, hint: str) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


class FileFinder:
    """Looks in ``folders``, in order; what is in none of them is taken from ``recorded``, by the text that was written."""

    def __init__(self, folders: Sequence[Path] = (), recorded: Mapping[str, NamedFile] | None = None) -> None:
        self.found: dict[str, NamedFile] = {}
        """What was asked for and is there, by the text that was written."""
        self._folders = tuple(dict.fromkeys(folders))
        self._recorded = recorded or {}

    def find(self, written: str) -> NamedFile:
        """The file that is ``written``: a path, perhaps with ``#sha256=…`` behind it, which its content must have.

        Raises:
            FileMistake: there is none, it cannot be read, or its content is another one.
        """
        if written not in self.found:
            self.found[written] = self._find(written)
        return self.found[written]

    def _find(self, written: str) -> NamedFile:
        name, pinned = split_reference(written)
        path = self._path(name)
        if path is None:
            return self._from_record(written, name)
        try:
            reference = reference_to(path)
        except OSError as error:
            raise FileMistake(f"cannot read `{name}`: {error.strerror or error}", "give yourself the right to read it") from None
        digest = split_reference(reference)[1]
        if pinned not in (None, digest):
            message = f"`{name}` is not the file that is meant: its SHA-256 begins with {digest}, not with {pinned}"
            raise FileMistake(message, "restore that file, or leave out `#sha256=…` to take this one")
        return NamedFile(reference, path)

    def _path(self, name: str) -> Path | None:
        """None where no folder has it."""
        problem = None
        for path in self._places(name):
            try:
                kind = os.stat(path).st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                problem = problem or (getattr(error, "strerror", None) or str(error))
                continue
            if stat.S_ISREG(kind) and is_file_name(path.name):
                return Path(os.path.abspath(path))
            problem = problem or _kind(kind)
        if problem:
            raise FileMistake(f"cannot read `{name}`: {problem}", "name a file")
        return None

    def _places(self, name: str) -> list[Path]:
        """A path below the person's home (``~/``), which no shell has replaced, is that, whatever the folders."""
        path = Path(name).expanduser() if name.startswith("~/") else Path(name)
        return list(dict.fromkeys(folder / path for folder in self._folders))

    def _from_record(self, written: str, name: str) -> NamedFile:
        if written in self._recorded:
            return self._recorded[written]
        if not self._folders:
            raise FileMistake(f"the record does not say which file `{name}` was", "name it in an edited copy of the space")
        looked = " and in ".join(map(_shown, dict.fromkeys(place.parent for place in self._places(name))))
        near = self._alike(name)
        hint = (
            f"did you mean `{near}`?" if near else "a path is relative to the search space's folder or to the working directory"
        )
        raise FileMistake(f"there is no file `{name}`: looked in {looked}", hint)

    def _alike(self, name: str) -> str | None:
        """The most similar name of a file where this one was looked for, written as this one was."""
        wanted = Path(name)
        for place in self._places(name):
            if near := did_you_mean(wanted.name, _files(place.parent)):
                return str(wanted.with_name(near))
        return None


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "its name has control characters"
    return "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"


def _files(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            listed = [entry.name for _, entry in zip(range(_MOST_LISTED), entries, strict=False) if entry.is_file()]
    except (OSError, ValueError):
        return []
    return sorted(listed)


def _shown(folder: Path) -> str:
    return "the working directory" if folder == Path() else f"`{folder}`"
