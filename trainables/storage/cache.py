"""Where this machine keeps its working copy of what lies in a storage."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from trainables.storage.location import Location

CACHE_VARIABLE = "MEMSWEEP_CACHE"


def cache_folder(storage: Location) -> Path:
    """The folder of this machine for the sweeps of a storage: below ``MEMSWEEP_CACHE``, else below ``~/.cache/memsweep``."""
    chosen = os.environ.get(CACHE_VARIABLE)
    root = Path(chosen) if chosen else Path.home() / ".cache" / "memsweep"
    return root.resolve() / hashlib.sha256(storage.uri.encode()).hexdigest()[:16]
