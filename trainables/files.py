"""References to files by name and content: ``y_w.csv#sha256=2629be5f0906f1c4``.

Results are known by what was read, so a configuration says which content it means, and not in which folder that lay.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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


def shown_names(references: Iterable[str]) -> dict[str, str]:
    """References as people read them: the name alone, or with six digits where another content has the same name."""
    distinct = {reference: split_reference(reference) for reference in references}
    names = Counter(name for name, _ in distinct.values())
    return {reference: name if names[name] == 1 else f"{name}@{digest:.6}" for reference, (name, digest) in distinct.items()}
