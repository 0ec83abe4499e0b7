"""How far the record has been delivered: what lies behind it is handed over again by the next process."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from trainables.redaction import USER_INFORMATION


class Watermark:
    """A number of events, kept in a file for one tracking store; for another store it begins at 0 again.

    ``noted`` is set by the control loop, ``confirm`` is called by the delivering thread. A process that lost something (its
    disk was full) confirms nothing any more.
    """

    def __init__(self, path: Path, tracking_uri: str) -> None:
        self._path = path
        # Without the password, which may change and must not be found by trying; the store stays the same one.
        self._store = hashlib.sha256(USER_INFORMATION.sub("//", tracking_uri).encode()).hexdigest()[:16]
        self.confirmed = self._read()
        self.noted = self.confirmed
        self._is_broken = False

    def reset(self, position: int = 0) -> None:
        """As if nothing behind ``position`` had ever been delivered."""
        self.confirmed = self.noted = position
        self._path.unlink(missing_ok=True)

    def break_off(self) -> None:
        """Something could not be handed over: nothing behind the present position counts as delivered."""
        self._is_broken = True

    def confirm(self, position: int) -> None:
        """Everything up to ``position`` is in the store.

        Raises:
            OSError: it cannot be written; it is tried again with the next delivery.
        """
        if self._is_broken or position <= self.confirmed:
            return
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({"store": self._store, "events": position}))
        os.replace(partial, self._path)
        self.confirmed = position

    def _read(self) -> int:
        try:
            content = json.loads(self._path.read_text())
            position = content["events"] if content["store"] == self._store else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return position if isinstance(position, int) and position >= 0 else 0
