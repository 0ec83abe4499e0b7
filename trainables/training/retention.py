"""Which checkpoints stay when a run has ended: a run in flight keeps its last one whatever is wanted, so that it can go on."""

from __future__ import annotations

import contextlib
import itertools
import stat
from pathlib import Path

from trainables.exhibits import EXHIBITS
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT
from trainables.training.request import Keep


def apply_retention(folder: Path, keep: Keep) -> None:
    """Removes from the folder of an ended run the checkpoints that are not kept, and what writers that were killed left.

    ``best`` keeps the last checkpoint where there is no best one; ``none`` removes the empty folder too, where the run has no
    exhibits. Nothing else is touched, no link is followed, and what is missing already is as good as removed.

    Raises:
        OSError: a file cannot be removed.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in itertools.chain(*(folder.glob(f".{name}.*") for name in (LAST_CHECKPOINT, BEST_CHECKPOINT))):
        _remove(path)
    for name in _superfluous(folder, keep):
        _remove(folder / name)
    if keep == "none":
        with contextlib.suppress(OSError):  # exhibits, and what is not ours, keep the folder
            _remove_empty(folder / EXHIBITS)
            folder.rmdir()


def _superfluous(folder: Path, keep: Keep) -> list[str]:
    if keep == "last":
        return [BEST_CHECKPOINT]
    if keep == "none":
        return [LAST_CHECKPOINT, BEST_CHECKPOINT]
    return [LAST_CHECKPOINT] if stat.S_ISREG(_mode(folder / BEST_CHECKPOINT)) else []


def _remove_empty(folder: Path) -> None:
    """A run with nothing to show has left it."""
    if folder.is_dir() and not folder.is_symlink():
        folder.rmdir()


def _remove(path: Path) -> None:
    """Files and links only: a folder of that name is not ours."""
    mode = _mode(path)
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        path.unlink(missing_ok=True)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0
