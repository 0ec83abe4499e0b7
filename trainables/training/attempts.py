"""The folders of a run and of its attempts: each attempt writes into its own, and what is left of the run is published from them.

A machine that was cut off from the network goes on with an old attempt for as long as the cut lasts, perhaps on the same shared
disk: that process can only write where nobody looks any more.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
from pathlib import Path

from trainables.exhibits import EXHIBITS
from trainables.training.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT

ATTEMPTS = "attempts"


def attempt_folder(run_folder: Path, attempt: int) -> Path:
    """Where the attempt, counted from 1, writes."""
    return run_folder / ATTEMPTS / str(attempt)


def earlier_folders(run_folder: Path, attempt: int) -> tuple[Path, ...]:
    """Where a checkpoint from before ``attempt`` may lie, the latest first; last of all what was published."""
    return (*(attempt_folder(run_folder, number) for number in range(attempt - 1, 0, -1)), run_folder)


def publish(run_folder: Path, attempt: int) -> None:
    """Moves the checkpoints of the latest attempt that has any, and the exhibits of ``attempt``, into the folder of the run.

    For whoever alone decides about the run, once it has ended. What lies there already is replaced; no link is followed.

    Raises:
        OSError: a file cannot be moved.
    """
    if run_folder.is_symlink() or not (run_folder / ATTEMPTS).is_dir():
        return
    for name in (LAST_CHECKPOINT, BEST_CHECKPOINT):
        for folder in (attempt_folder(run_folder, number) for number in range(attempt, 0, -1)):
            if _is_regular_file(folder / name):
                (folder / name).replace(run_folder / name)
                break
    _publish_exhibits(attempt_folder(run_folder, attempt) / EXHIBITS, run_folder / EXHIBITS)


def remove_attempts(run_folder: Path) -> None:
    """Removes what is left of attempts; what an old process writes later stays until the next call, and harms nobody."""
    if not run_folder.is_symlink():
        shutil.rmtree(run_folder / ATTEMPTS, ignore_errors=True)


def _publish_exhibits(made: Path, published: Path) -> None:
    if made.is_symlink() or not made.is_dir():
        return
    if published.is_dir() and not published.is_symlink():
        shutil.rmtree(published)
    made.rename(published)


def _is_regular_file(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False
