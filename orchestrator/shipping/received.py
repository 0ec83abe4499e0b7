"""On the head: removes the files of the shipment before this one that this one no longer has. Needs nothing but Python.

Shipping adds and replaces. What was deleted or renamed since would stay, and architectures and tasks are found by being there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

SHIPPED, RECEIVED = ".memsweep-shipped", ".memsweep-received"


def remove_what_is_gone(folder: Path) -> list[str]:
    """Removes from ``folder`` what its last shipment brought and the present one did not; returns the names."""
    shipped = _names(folder / SHIPPED)
    gone = sorted(_names(folder / RECEIVED) - shipped)
    for name in gone:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    (folder / SHIPPED).replace(folder / RECEIVED)
    return gone


def _names(manifest: Path) -> set[str]:
    """The names in a manifest, less those that would lead out of the folder."""
    if not manifest.is_file():
        return set()
    names = manifest.read_text().splitlines()
    return {name for name in names if name and not Path(name).is_absolute() and ".." not in Path(name).parts}


if __name__ == "__main__":
    remove_what_is_gone(Path(__file__).resolve().parents[2])
