"""Names of files in a storage, which may be a stranger's: none leads out of the folder that it is put into."""

from __future__ import annotations

import re

_PART = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")


def is_sound(name: str) -> bool:
    """Whether ``name`` is a relative path of plain parts: no `..`, no drive, no backslash, nothing hidden.

    Hidden files are what writers have not completed.
    """
    return all(_PART.fullmatch(part) and not part.startswith(".") and part[1:2] != ":" for part in name.split("/"))


def sound(name: str) -> str:
    """``name``.

    Raises:
        ValueError: it is not sound.
    """
    if not is_sound(name):
        raise ValueError(f"{name!r} is no name of a file in a storage")
    return name
