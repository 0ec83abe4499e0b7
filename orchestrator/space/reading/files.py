"""Finds the files and folders that a search space names, and knows each by its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.document import did_you_mean
from trainables.configuration import DescribesFiles, Hyperparameter
from trainables.files import NamedFile, NoFiles, identity, is_file_name, reference_to, split_reference

_MOST_LISTED = 1000
_CURE = "give yourself the right to read it"
_CURE_OF_CHANGE = "put the recorded one back, or name the new one in an edited copy of the space"


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
        self._asked: set[tuple[str, bool]] = set()
        self._folders = tuple(dict.fromkeys(folders))
        self._recorded = recorded or {}

    def find(self, written: str, field: Hyperparameter) -> NamedFile:
        """What ``field`` names by ``written``: a path, perhaps with ``#sha256=…`` behind it, which its content must have.

        Raises:
            FileMistake: there is none, it cannot be read, or its content is another one.
        """
        if (written, field.folder) not in self._asked:
            self.found[written] = self._find(written, field)
            self._asked.add((written, field.folder))
        return self.found[written]

    def described(self, written: str, place: str, field: Hyperparameter, nested: DescribesFiles) -> Mapping[str, Any]:
        """What ``nested`` takes from the file that its ``field`` names; kept beside the file, under ``place``.

        Raises:
            FileMistake: it cannot be read.
            ConfigurationError: it does not hold what it should.
        """
        named = self.find(written, field)
        if place not in named.described:
            try:
                if identity(reference_to(named.path)) != identity(named.reference):
                    raise FileMistake(f"`{written}` has changed: {named.path} is another one now", _CURE_OF_CHANGE)
                told = dict(nested.describe_file(field.name, named.path))
            except OSError as error:
                raise FileMistake(f"cannot read `{written}`: {error.strerror or error}", _CURE) from None
            named = self.found[written] = replace(named, described={**named.described, place: told})
        return named.described[place]

    def _find(self, written: str, field: Hyperparameter) -> NamedFile:
        name, pinned = split_reference(written)
        path = self._path(name, field)
        if path is None:
            return self._from_record(written, name, field)
        try:
            reference = reference_to(path)
        except NoFiles:
            raise FileMistake(
                f"the folder `{name}` holds no files", "files and folders that begin with `.` do not count"
            ) from None
        except OSError as error:
            raise FileMistake(f"cannot read `{name}`: {error.strerror or error}", _CURE) from None
        digest = split_reference(reference)[1]
        if pinned not in (None, digest):
            message = f"`{name}` is not the file that is meant: its SHA-256 begins with {digest}, not with {pinned}"
            raise FileMistake(message, "restore that file, or leave out `#sha256=…` to take this one")
        return NamedFile(reference, path)

    def _path(self, name: str, field: Hyperparameter) -> Path | None:
        """None where no folder has it."""
        problem = None if name or not field.folder else "an empty text names nothing"
        for place in self._places(name) if name or not field.folder else ():
            path = Path(os.path.abspath(place))
            try:
                kind = os.stat(place).st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                problem = problem or (getattr(error, "strerror", None) or str(error))
                continue
            if _is_wanted(kind, field) and is_file_name(path.name):
                return path
            problem = problem or _kind(kind, field)
        if problem:
            raise FileMistake(f"cannot read `{name}`: {problem}", "name a file or a folder" if field.folder else "name a file")
        return None

    def _places(self, name: str) -> list[Path]:
        """A path below the person's home (``~/``), which no shell has replaced, is that, whatever the folders."""
        path = Path(name).expanduser() if name.startswith("~/") else Path(name)
        return list(dict.fromkeys(folder / path for folder in self._folders))

    def _from_record(self, written: str, name: str, field: Hyperparameter) -> NamedFile:
        if written in self._recorded:
            return self._recorded[written]
        if not self._folders:
            raise FileMistake(f"the record does not say which file `{name}` was", "name it in an edited copy of the space")
        looked = " and in ".join(map(_shown, dict.fromkeys(place.parent for place in self._places(name))))
        what = "file or folder" if field.folder else "file"
        near = did_you_mean(name, field.names) or self._alike(name, field)
        hint = "a path is relative to the search space's folder or to the working directory"
        if field.names:
            hint += f"; known besides: {', '.join(field.names)}"
        raise FileMistake(f"there is no {what} `{name}`: looked in {looked}", f"did you mean `{near}`?" if near else hint)

    def _alike(self, name: str, field: Hyperparameter) -> str | None:
        """The most similar name of a file where this one was looked for, written as this one was."""
        for place in self._places(name):
            if near := did_you_mean(Path(name).name, _listed(place.parent, field)):
                return str(Path(name).with_name(near))
        return None


def _is_wanted(mode: int, field: Hyperparameter) -> bool:
    return stat.S_ISREG(mode) or (field.folder and stat.S_ISDIR(mode))


def _kind(mode: int, field: Hyperparameter) -> str:
    if _is_wanted(mode, field):
        return "its name has control characters" if stat.S_ISREG(mode) else "this folder has no name that can be written"
    return "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"


def _listed(folder: Path, field: Hyperparameter) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            wanted = (entry for _, entry in zip(range(_MOST_LISTED), entries, strict=False))
            return sorted(entry.name for entry in wanted if entry.is_file() or (field.folder and entry.is_dir()))
    except (OSError, ValueError):
        return []


def _shown(folder: Path) -> str:
    return "the working directory" if folder == Path() else f"`{folder}`"
