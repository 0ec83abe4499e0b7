"""Corpora of text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainables.configuration import ConfigurationError

PARTS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What the files or folders of each part of a corpus may be called."""


def read_text_file(path: Path) -> dict[str, list[str]]:
    """One document."""
    return {"train": [_text(path)]}


def read_text_folder(folder: Path) -> dict[str, list[str]]:
    """The documents, a file each, of ``train`` and where there are such files or folders of ``validation`` and ``test``.

    Where nothing is called ``train``, all .txt files of the folder and its subfolders are one part. Hidden files are left out.

    Raises:
        ConfigurationError: there is no .txt file, a part is there twice, or a file is not UTF-8.
    """
    found = {part: _named(folder, part, names) for part, names in PARTS.items()}
    if found["train"] is None:
        return {"train": _documents(folder)}
    return {part: _documents(path) for part, path in found.items() if path is not None}


def _named(folder: Path, part: str, names: Sequence[str]) -> Path | None:
    candidates = [path for name in names for path in (folder / f"{name}.txt", folder / name) if path.exists()]
    if len(candidates) > 1:
        both = " and ".join(path.name for path in candidates)
        raise ConfigurationError([("corpus", f"{folder.name} has {both} for {part}: keep one of them")])
    return candidates[0] if candidates else None


def _documents(path: Path) -> list[str]:
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    shown = [file for file in files if file.is_file() and not _is_hidden(file.relative_to(path))]
    if not shown:
        raise ConfigurationError([("corpus", f"there is no .txt file in {path.name}: give a folder of texts in .txt files")])
    return [_text(file) for file in shown]


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8 text: byte {error.start:,} does not fit; convert it, e.g. with iconv -t UTF-8"
        raise ConfigurationError([("corpus", message)]) from error
    except OSError as error:
        raise ConfigurationError([("corpus", f"{path.name} cannot be read: {error.strerror}")]) from error
