"""Checkpoint files: written whole or not at all, read without unpickling, refused when they belong to another run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

FORMAT = 1


class CheckpointRefused(ValueError):
    """The file cannot be read, or it is the checkpoint of another configuration or seed."""


def write_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str, seed: int) -> None:
    """Writes tensors and plain values under another name, then renames: ``path`` is never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, "fingerprint": fingerprint, "seed": seed, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path, *, fingerprint: str, seed: int) -> dict[str, Any]:
    """The state that was written, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointRefused: it is unreadable, or of another format, fingerprint or seed.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a torn file makes torch raise nearly anything
        raise CheckpointRefused(f"{path} is no readable checkpoint: {error}") from error
    found = {name: state.get(name) for name in ("format", "fingerprint", "seed")} if isinstance(state, dict) else None
    wanted = {"format": FORMAT, "fingerprint": fingerprint, "seed": seed}
    if found != wanted:
        raise CheckpointRefused(f"{path} is the checkpoint of another run: it has {found}, this run is {wanted}")
    return dict(state)
