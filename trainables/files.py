"""References to files by name and content: ``y_w.csv#sha256=2629be5f0906f1c4``.

Results are known by what was read, so a configuration says which content it means, and not in which folder that lay.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from trainables.configuration import Configuration

C = TypeVar("C", bound="Configuration")

_MARK = "#sha256="
_DIGEST = re.compile(r"[0-9a-f]{16}")
# No separator of folders, no control character, no half character, which no record could hold.
_FILE_NAME = re.compile("[^/\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]+")


def split_reference(text: str) -> tuple[str, str | None]:
    """The name (or path) and the digest, which is None in a text that is a path alone."""
    name, mark, digest = text.rpartition(_MARK)
    return (name, digest) if mark and name and _DIGEST.fullmatch(digest) else (text, None)


def is_file_name(name: str) -> bool:
    """Whether a reference may have this name."""
    return name not in (".", "..") and _FILE_NAME.fullmatch(name) is not None


def reference_to(path: Path) -> str:
    """The file's name with the first 16 hexadecimal digits of the SHA-256 of its content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return f"{path.name}{_MARK}{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def identity(text: str) -> str:
    """What decides results: the digest where there is one, else the text as it is."""
    _, digest = split_reference(text)
    return text if digest is None else f"{_MARK}{digest}"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a search space names."""

    reference: str
    path: Path
    """Absolute; where it lay when it was found."""


class FileGone(FileNotFoundError):
    """A file that is needed is not where it was, or not what it was; the message names it and the cure."""


def shown_names(references: Iterable[str]) -> dict[str, str]:
    """References as people read them: the name alone, or with six digits where another content has the same name."""
    distinct = {reference: split_reference(reference) for reference in references}
    names = Counter(name for name, _ in distinct.values())
    return {reference: name if names[name] == 1 else f"{name}@{digest:.6}" for reference, (name, digest) in distinct.items()}


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
