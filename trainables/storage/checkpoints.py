"""The checkpoints of a run in its storage: sent with their step in their name, found again from any machine."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.storage.errors import StorageError
from trainables.storage.folder import StoredFolder
from trainables.storage.run_place import RunPlace

SAFE_AFTER_S = 60.0
"""By then a step is in the storage's record too, which lags by seconds: what is older than a checkpoint of that age can go."""

_LAST = re.compile(r"(?P<attempt>\d{1,9})\.(?P<driver>[0-9a-f]{12})/checkpoint-(?P<step>\d{1,12})\.pt")


@dataclass(frozen=True, order=True)
class StoredCheckpoint:
    """A last checkpoint of an attempt. Later is greater."""

    step: int
    attempt: int
    driver: str
    name: str
    """In the sweep's folder."""


def stored_checkpoints(sweep: StoredFolder, attempts: str) -> list[StoredCheckpoint]:
    """The last checkpoints below the folder of a run's attempts, the earliest first.

    Raises:
        StorageError: it cannot be listed.
    """
    found = ((name, _LAST.fullmatch(name.removeprefix(f"{attempts}/"))) for name in sweep.names(attempts))
    return sorted(StoredCheckpoint(int(m["step"]), int(m["attempt"]), m["driver"], name) for name, m in found if m)


def usable(checkpoints: list[StoredCheckpoint], recorded: int) -> list[StoredCheckpoint]:
    """Those from which a run can go on without a gap in the record, the best first; the step behind the record is told again."""
    return [checkpoint for checkpoint in reversed(checkpoints) if checkpoint.step <= recorded + 1]


class RunCheckpoints:
    """What the worker of one attempt does with its place. The clock gives s."""

    def __init__(self, place: RunPlace, sweep: StoredFolder | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._opened = sweep
        self._clock = clock
        self._kept: list[tuple[float, str]] = []
        """When each that may still be needed was sent, the earliest first."""

    @property
    def _sweep(self) -> StoredFolder:
        """Opened when it is first needed: that may fail."""
        if self._opened is None:
            self._opened = self._place.open()
        return self._opened

    def fetched(self, folder: Path) -> Iterator[Path]:
        """Checkpoints of earlier attempts, the best first, each fetched into ``folder`` when it is asked for.

        Raises:
            StorageError: they cannot be listed or fetched; that there are some, but all too far ahead of the record, too.
        """
        found = stored_checkpoints(self._sweep, self._place.attempts)
        best = usable(found, self._place.recorded)
        others = [checkpoint for checkpoint in found if checkpoint not in best]
        self._kept = [(float("-inf"), checkpoint.name) for checkpoint in (*others, *reversed(best))]
        for checkpoint in best:
            path = folder / Path(checkpoint.name).name
            try:
                if self._sweep.fetch(checkpoint.name, path):
                    yield path
            finally:
                path.unlink(missing_ok=True)
        if others and not best:
            raise StorageError(
                f"the record ends at step {self._place.recorded} and the earliest checkpoint is of step {others[0].step}: "
                "the driver that recorded the steps between was lost with them"
            )

    def send_last(self, path: Path, step: int) -> None:
        """Sends the last checkpoint, and removes those that nobody needs any more.

        Raises:
            OSError: it could not be sent.
        """
        name = f"{self._place.folder}/checkpoint-{step}.pt"
        self._sweep.send(path, name)
        now = self._clock()
        self._kept = [kept for kept in self._kept if kept[1] != name] + [(now, name)]
        self._remove_superseded(now)

    def send(self, path: Path, name: str) -> None:
        """Sends another file of the attempt, or every file of a folder, under ``name``.

        Raises:
            OSError: it could not be sent.
        """
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not file.is_symlink():
                inside = file.relative_to(path).as_posix()
                self._sweep.send(file, f"{self._place.folder}/{name}" + ("" if inside == "." else f"/{inside}"))

    def _remove_superseded(self, now: float) -> None:
        safe = [index for index, (sent, _) in enumerate(self._kept) if now - SAFE_AFTER_S >= sent > float("-inf")]
        if not safe:
            return
        superseded, self._kept = self._kept[: safe[-1]], self._kept[safe[-1] :]
        for _, name in superseded:
            with contextlib.suppress(StorageError):  # the driver removes what is left when the run has ended
                self._sweep.remove(name)
