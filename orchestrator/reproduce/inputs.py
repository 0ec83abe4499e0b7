"""The prepared data of a run that is run again: the sweep's own where they are still those of the record, else made anew."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from orchestrator.reproduce.recorded import RecordedRun
from trainables.fingerprint import fingerprint
from trainables.prepared import MANIFEST, data_digest, prepare_once
from trainables.training.request import RunRequest


def provide_inputs(recorded: RecordedRun, request: RunRequest, made_anew: Callable[[], None]) -> Path | None:
    """Fills ``request.artifacts`` and returns the prepared folder in it; None where that fails, which the run will tell.

    The sweep's files are linked, and their contents read again: what its manifest says of them may be older than they are.
    ``made_anew`` is called where the sweep has data that are not those of the record.
    """
    with contextlib.suppress(Exception):
        resolved = request.resolved()
        name, values = resolved.task_type.name, resolved.task.to_values()
        source = recorded.folder.artifacts.resolve() / f"{name}-{fingerprint(values)}"
        if (source / MANIFEST).is_file() and recorded.provenance("data"):
            folder = _linked(source, functools.partial(prepare_once, request.artifacts, name, values))
            if folder is not None and data_digest(folder) in recorded.provenance("data"):
                return folder
            made_anew()
            shutil.rmtree(request.artifacts, ignore_errors=True)
        return prepare_once(request.artifacts, name, values, lambda folder: resolved.task_type.prepare(resolved.task, folder))
    return None


def _linked(source: Path, prepare: Callable[[Callable[[Path], None]], Path]) -> Path | None:
    """None where the files cannot be read or linked."""
    try:
        return prepare(functools.partial(_link_files, source))
    except OSError:
        return None


def _link_files(source: Path, folder: Path) -> None:
    """Links to the files alone: the folders are new, so that nothing can be added to the sweep's."""
    for path in sorted(source.rglob("*")):
        place = folder / path.relative_to(source)
        if path.is_file() and path != source / MANIFEST:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
