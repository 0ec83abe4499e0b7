"""Libraries that are too old to be used safely are refused at start."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

OLDEST = {"ray": "2.52", "torch": "2.6"}
"""Ray has token authentication from 2.52 on; ``torch.load(weights_only=True)`` can be made to run code before 2.6
(CVE-2025-32434)."""

_REASONS = {
    "ray": "older versions start a cluster that anyone who reaches it can run code in",
    "torch": "in older versions a checkpoint can run code when it is read",
}


class UnsupportedLibrary(Exception):
    """An installed library is older than the oldest one that is safe."""


def refuse_old_libraries() -> None:
    """Looks at the installed versions, without importing the libraries.

    Raises:
        UnsupportedLibrary: Ray or torch is too old; the message names the version and the cure.
    """
    for name, oldest in OLDEST.items():
        found = version(name)
        if Version(found) < Version(oldest):
            raise UnsupportedLibrary(f"{name} {found} is installed: {_REASONS[name]}; run `pip install '{name}>={oldest}'`")
