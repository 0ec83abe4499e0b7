"""Checkpoint files: written whole or not at all, read without unpickling, refused when they belong to another run."""

from __future__ import annotations

import os
import re
import stat
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

FORMAT = 2
LAST_CHECKPOINT = "checkpoint.pt"
"""In the folder of a run: where it goes on after it was interrupted."""
BEST_CHECKPOINT = "best.pt"
"""In the folder of a run: its state after the step with the best objective."""
_OLDEST_SAFE_TORCH = (2, 6)
"""Below it ``weights_only`` can be made to run code (CVE-2025-32434)."""


class CheckpointRefused(ValueError):
    """The file cannot be read, cannot be read safely, or is the checkpoint of another configuration or seed."""


def write_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str, seed: int) -> None:
    """Writes tensors and plain values under another name, then renames: ``path`` is never half-written.

    Raises:
        OSError: the disk is full, or the folder cannot be written; what was at ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as file:
            _save({"format": FORMAT, "fingerprint": fingerprint, "seed": seed, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path, *, fingerprint: str, seed: int) -> dict[str, Any]:
    """The state that was written, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointRefused: it is no regular file (a link is none), it is damaged, torch is too old to read it safely, or it is of
            another format, fingerprint or seed.
    """
    try:
        _require_regular_file(path)
        _require_safe_torch(path)
        _require_intact(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, CheckpointRefused):
        raise
    except Exception as error:  # a torn or hostile file makes zipfile and torch raise nearly anything
        raise CheckpointRefused(f"{path} is no readable checkpoint: {error}") from error
    found = {name: state.get(name) for name in ("format", "fingerprint", "seed")} if isinstance(state, dict) else None
    wanted = {"format": FORMAT, "fingerprint": fingerprint, "seed": seed}
    if found != wanted:
        raise CheckpointRefused(f"{path} is the checkpoint of another run: it has {found}, this run is {wanted}")
    return dict(state)


class _Sink:
    """A file that remembers its first error: torch replaces the error of a write by one that no longer says what it was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()


def _save(state: Mapping[str, Any], file: IO[bytes]) -> None:
    sink = _Sink(file)
    try:
        torch.save(state, sink)  # type: ignore[arg-type]  # all that it calls is write and flush
    except Exception as error:
        if sink.error is None:
            raise
        raise sink.error from error


def _require_regular_file(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise CheckpointRefused(f"{path} is a link or no regular file: put the checkpoint itself there, or remove it")


def _require_safe_torch(path: Path) -> None:
    found = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if found is None or tuple(map(int, found.groups())) < _OLDEST_SAFE_TORCH:
        raise CheckpointRefused(
            f"{path} is not read: a checkpoint can make torch {torch.__version__} run code (CVE-2025-32434); "
            "install torch 2.6 or newer"
        )


def _require_intact(path: Path) -> None:
    """torch checks no sums, so a flipped bit would train on unnoticed; and nothing may unfold to more than the file holds."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise CheckpointRefused(f"{path} holds compressed entries, which no checkpoint has: remove it")
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointRefused(f"{path} is damaged at {damaged}: its check sum is wrong")
