"""What is left of a run in its storage: the checkpoints that are kept and the exhibits, out of the folders of its attempts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainables.exhibits import EXHIBITS
from trainables.storage.checkpoints import StoredCheckpoint, usable
from trainables.storage.folder import StoredFolder
from trainables.storage.run_place import TRIALS
from trainables.training.attempts import ATTEMPTS
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from trainables.training.request import Keep

_FILE = re.compile(r"(?P<attempt>\d{1,9})\.(?P<driver>[0-9a-f]{12})/(?P<file>.+)")
_LAST = re.compile(r"checkpoint-(\d{1,12})\.pt")


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended, as far as its files go."""

    run: str
    attempts: int
    """How often it was handed out."""
    progress: int
    """Its last recorded step."""


def publish_run(sweep: StoredFolder, ended: EndedRun, keep: Keep, drivers: Sequence[str]) -> None:
    """Moves the files of the last attempt into the folder of the run, and removes what is not kept and all attempts.

    ``drivers`` are those that have written the sweep, the latest last; what another process left counts for nothing. Done twice
    it changes nothing.

    Raises:
        StorageError: a file cannot be moved.
    """
    home = f"{TRIALS}/{ended.run}"
    names = sweep.names(home)
    attempts = _by_attempt([name for name in names if name.startswith(f"{home}/{ATTEMPTS}/")], f"{home}/{ATTEMPTS}/", drivers)
    final = {attempt: files for attempt, files in attempts.items() if attempt[0] == ended.attempts}
    last = _last(attempts, final, ended, f"{home}/{LAST_CHECKPOINT}" in names)
    best = next((files[BEST_CHECKPOINT] for files in reversed(list(attempts.values())) if BEST_CHECKPOINT in files), None)
    has_best = best is not None or f"{home}/{BEST_CHECKPOINT}" in names
    if best is not None and keep == "best":
        sweep.move(best, f"{home}/{BEST_CHECKPOINT}")
    if last is not None and (keep == "last" or (keep == "best" and not has_best)):
        sweep.move(last, f"{home}/{LAST_CHECKPOINT}")
    for files in list(final.values())[-1:]:
        for file, name in files.items():
            if file.startswith(f"{EXHIBITS}/"):
                sweep.move(name, f"{home}/{file}")
    _remove_superfluous(sweep, home, names, keep, has_best)
    if attempts or any(name.startswith(f"{home}/{ATTEMPTS}/") for name in names):
        sweep.remove_below(f"{home}/{ATTEMPTS}")


def _by_attempt(names: Sequence[str], below: str, drivers: Sequence[str]) -> Mapping[tuple[int, int], dict[str, str]]:
    """The files of each attempt of a known driver, the latest last: by their name in it, their whole name."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    for name in names:
        match = _FILE.fullmatch(name.removeprefix(below))
        if match and match["driver"] in drivers:
            found.setdefault((int(match["attempt"]), drivers.index(match["driver"])), {})[match["file"]] = name
    return dict(sorted(found.items()))


def _last(
    attempts: Mapping[tuple[int, int], dict[str, str]],
    final: Mapping[tuple[int, int], dict[str, str]],
    ended: EndedRun,
    published: bool,
) -> str | None:
    """The last checkpoint of the last attempt; of an earlier one where it left none and none was published."""
    for some in (final, {} if published else attempts):
        checkpoints = [
            StoredCheckpoint(int(match[1]), number, str(driver), name)
            for (number, driver), files in some.items()
            for file, name in files.items()
            if (match := _LAST.fullmatch(file))
        ]
        found = usable(sorted(checkpoints), ended.progress)
        if found:
            return found[0].name
    return None


def _remove_superfluous(sweep: StoredFolder, home: str, names: Sequence[str], keep: Keep, has_best: bool) -> None:
    unwanted = {
        "last": [BEST_CHECKPOINT],
        "best": [LAST_CHECKPOINT] if has_best else [],
        "none": [LAST_CHECKPOINT, BEST_CHECKPOINT],
    }[keep]
    for file in unwanted:
        if f"{home}/{file}" in names:
            sweep.remove(f"{home}/{file}")


def runs_with_attempts(sweep: StoredFolder) -> list[str]:
    """The runs of which attempts are left.

    Raises:
        StorageError: they cannot be listed.
    """
    parts = (name.split("/") for name in sweep.names(TRIALS))
    return sorted({part[1] for part in parts if len(part) > 3 and part[2] == ATTEMPTS})
