"""The file fields of a configuration: from references to the paths of files that hold what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from trainables.configuration import Configuration
from trainables.files import reference_to, split_reference

C = TypeVar("C", bound=Configuration)


class FileGone(FileNotFoundError):
    """A file that is needed is not where it was, or not what it was; the message names it and the cure."""


def named_references(configuration: Configuration) -> dict[str, str]:
    """The references in the file fields of a configuration by field; a path alone is none."""
    values = configuration.to_values()
    named = {name: values[name] for name, field in configuration.hyperparameters().items() if field.file}
    return {name: text for name, text in named.items() if isinstance(text, str) and split_reference(text)[1]}


def with_paths(configuration: C, paths: Mapping[str, Path]) -> C:
    """The configuration with each reference replaced by the path of its file; ``paths`` gives the path of a reference.

    Raises:
        FileGone: a file is not in ``paths``, not there, or has another content than its reference says.
    """
    found = {name: str(_demand(text, paths.get(text))) for name, text in named_references(configuration).items()}
    return dataclasses.replace(configuration, **found) if found else configuration  # type: ignore[type-var]


def _demand(reference: str, path: Path | None) -> Path:
    name, digest = split_reference(reference)
    if path is None:
        raise FileGone(
            f"the data made from `{name}` (SHA-256 {digest}…) are not here, and it is the driver that makes them: continue the "
            "sweep with `memsweep resume`, where the file lies"
        )
    cure = f"put the file back (SHA-256 {digest}…), or name it in an edited space: `memsweep resume SWEEP --space EDITED.yaml`"
    if not path.is_file():
        raise FileGone(f"`{name}` is no longer at {path}, and the data made from it are not there either: {cure}")
    found = split_reference(reference_to(path))[1]
    if found != digest:
        raise FileGone(f"{path} has changed since the search space was read: its SHA-256 begins with {found}; {cure}")
    return path
