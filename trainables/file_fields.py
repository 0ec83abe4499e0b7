"""The file fields of a configuration: from references to the paths of files that hold what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from trainables.configuration import Configuration, Hyperparameter
from trainables.files import NoFiles, reference_to, split_reference

C = TypeVar("C", bound=Configuration)


class FileGone(FileNotFoundError):
    """A file that is needed is not where it was, or not what it was; the message names it and the cure."""


def file_values(field: Hyperparameter, value: Any) -> dict[tuple[str, ...], str]:
    """The texts that name files in the value of a field, by the keys that lead to them: none for a file field itself."""
    if field.names_file(value):
        return {(): value}
    if field.nested is None or not isinstance(value, Mapping):
        return {}
    known = {tuple(name.split(".")): inner for name, inner in field.nested.fields(value).items() if inner.file}
    found = ((keys, inner, _at(value, keys)) for keys, inner in known.items())
    return {keys: text for keys, inner, text in found if inner.names_file(text)}


def with_value(value: Any, keys: Sequence[str], new: Any) -> Any:
    """``value`` with ``new`` in the place to which ``keys`` lead; without keys that is ``new`` itself."""
    return {**value, keys[0]: with_value(value.get(keys[0], {}), keys[1:], new)} if keys else new


def named_references(configuration: Configuration) -> dict[str, str]:
    """The references in a configuration by field (``csv``, ``base.backbone``); a path alone is none."""
    values = configuration.to_values()
    named = {
        ".".join((name, *keys)): text
        for name, field in configuration.hyperparameters().items()
        for keys, text in file_values(field, values[name]).items()
    }
    return {name: text for name, text in named.items() if split_reference(text)[1]}


def with_paths(configuration: C, paths: Mapping[str, Path]) -> C:
    """The configuration with each reference replaced by the path of its file; ``paths`` gives the path of a reference.

    Raises:
        FileGone: a file is not in ``paths``, not there, or has another content than its reference says.
    """
    found: dict[str, Any] = {}
    for place, text in named_references(configuration).items():
        name, *keys = place.split(".")
        value = found.get(name, getattr(configuration, name))
        found[name] = with_value(value, keys, str(_demand(text, paths.get(text))))
    return dataclasses.replace(configuration, **found) if found else configuration  # type: ignore[type-var]


def _at(value: Any, keys: Sequence[str]) -> Any:
    """What stands where ``keys`` lead; None where nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _demand(reference: str, path: Path | None) -> Path:
    name, digest = split_reference(reference)
    if path is None:
        raise FileGone(
            f"the data made from `{name}` (SHA-256 {digest}…) are not here, and it is the driver that makes them: continue the "
            "sweep with `memsweep resume`, where the file lies"
        )
    cure = f"put the file back (SHA-256 {digest}…), or name it in an edited space: `memsweep resume SWEEP --space EDITED.yaml`"
    found = _digest(path)
    if found is None:
        raise FileGone(f"`{name}` is no longer at {path}, and the data made from it are not there either: {cure}")
    if found != digest:
        raise FileGone(f"{path} has changed since the search space was read: its SHA-256 begins with {found}; {cure}")
    return path


def _digest(path: Path) -> str | None:
    """None where neither a file nor a folder with files is there."""
    if not path.is_file() and not path.is_dir():
        return None
    try:
        return split_reference(reference_to(path))[1]
    except NoFiles:
        return None
