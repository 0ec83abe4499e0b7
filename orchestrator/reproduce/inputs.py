"""The prepared data of a run that is run again: the sweep's own where they are still those of the record, else made anew."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.reproduce.recorded import RecordedRun
from trainables.file_fields import FileGone
from trainables.fingerprint import fingerprint
from trainables.prepared import MANIFEST, data_digest, prepare_data, prepare_once
from trainables.stages import StageContext, make_stages, stages_of
from trainables.training.request import RunRequest


def provide_inputs(recorded: RecordedRun, request: RunRequest, made_anew: Callable[[], None]) -> Path | None:
    """Fills ``request.artifacts`` and returns the prepared folder in it; None where that fails, which the run will tell.

    The sweep's files are linked, and their contents read again: what its manifest says of them may be older than they are.
    ``made_anew`` is called where the sweep has data that are not those of the record.

    Raises:
        FileGone: data have to be made from a file that is not there, or has changed.
    """
    try:
        data = _provided(recorded, request, made_anew)
        _provide_stages(recorded, request, data)
        return data
    except FileGone:
        raise
    except Exception:  # told by the run, which meets it again
        return None


def _provided(recorded: RecordedRun, request: RunRequest, made_anew: Callable[[], None]) -> Path:
    resolved = request.resolved()
    name, values = resolved.task_type.name, resolved.task_type.data_values(resolved.task)
    source = recorded.folder.artifacts.resolve() / f"{name}-{fingerprint(values)}"
    if (source / MANIFEST).is_file() and recorded.provenance("data"):
        folder = _linked(source, functools.partial(prepare_once, request.artifacts, name, values))
        if folder is not None and data_digest(folder) in recorded.provenance("data"):
            return folder
        made_anew()
        shutil.rmtree(request.artifacts, ignore_errors=True)
    return prepare_data(request.artifacts, resolved.task_type, resolved.task, paths=recorded.files)


def _provide_stages(recorded: RecordedRun, request: RunRequest, data: Path) -> None:
    """What the run shared with others is taken from the sweep where it is there still, else made anew."""
    resolved = request.resolved()
    stages = stages_of(resolved.architecture, resolved.model, resolved.task_type, resolved.task)
    context = StageContext(request.artifacts, data, torch.device("cpu"), files=recorded.files)
    make_stages(stages, context, [recorded.folder.artifacts.resolve()])


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
