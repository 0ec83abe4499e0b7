"""Folders with given files."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def fill(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes ``files``, contents by relative name."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)
