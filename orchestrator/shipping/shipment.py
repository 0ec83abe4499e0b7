"""A list of files with their sizes: shown before anything leaves the machine, and copied aside to be sent."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
LIMIT_MIB = 100
"""What a head takes of a job's files at most: a limit of Ray that cannot be set."""

MANIFEST = ".memsweep-shipped"
"""The names of all files of a shipment, so that the next one can remove what is no longer there."""

_BIGGEST = 5


class ShippingError(Exception):
    """Something cannot or must not be sent, or the cluster was not reached."""


@dataclass(frozen=True)
class ShippedFile:
    """Attributes: name: relative, with ``/``; path: where it lies here; size: in bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Shipment:
    """Attributes: files: sorted by name; withheld: names of files that look like credentials and stay here."""

    files: tuple[ShippedFile, ...]
    withheld: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    def listing(self) -> str:
        """Every file with its size, the largest next to the end of a long list, then what is withheld, and the total."""
        lines = [f"{shown_size(file.size):>10}  {file.name}" for file in sorted(self.files, key=lambda file: file.size)]
        lines += [f"  withheld  {name} (looks like a credential)" for name in self.withheld]
        return "\n".join([*lines, f"{len(self.files)} files, {shown_size(self.size)}, go to the cluster"])

    def refuse_too_much(self) -> None:
        """Raises:
        ShippingError: the files are more than a head takes.
        """
        if self.size <= LIMIT_MIB * MIB:
            return
        biggest = sorted(self.files, key=lambda file: -file.size)[:_BIGGEST]
        named = ", ".join(f"{file.name} ({shown_size(file.size)})" for file in biggest)
        cure = "leave files out with .rayignore; put data where all nodes see them, and name them by that path"
        too_much = f"{shown_size(self.size)} are more than the {LIMIT_MIB} MiB that Ray takes"
        raise ShippingError(f"{too_much}; the biggest: {named}; {cure}")

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A copy of exactly these files in a temporary folder, with :data:`MANIFEST`, for as long as the context lasts."""
        with tempfile.TemporaryDirectory(prefix="memsweep-shipment-") as made:
            folder = Path(made)
            for file in self.files:
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.path, target)
            (folder / MANIFEST).write_text("".join(f"{file.name}\n" for file in self.files))
            yield folder


def shown_size(size: int) -> str:
    """Such as ``512 B``, ``12.3 KiB``, ``1.0 MiB``."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KiB" if size < MIB else f"{size / MIB:.1f} MiB"
