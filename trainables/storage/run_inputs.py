"""What a run needs before it begins, fetched from its place to the machine that it runs on."""

from __future__ import annotations

import time
from pathlib import Path

from trainables.prepared import data_folder
from trainables.stages import stages_of
from trainables.storage.errors import StorageError
from trainables.storage.prepared_inputs import fetch_prepared
from trainables.storage.run_place import RunPlace
from trainables.training.request import RunRequest

_TRIES, _PAUSE_S = 4, 1.0
"""A storage that is away for a moment costs no run: an exception of a run is final."""


def fetch_inputs(request: RunRequest) -> None:
    """The data and the stages of a run that has a place; what is not there is made by the run, as without a place.

    Raises:
        StorageError: something is there, and cannot be fetched or is damaged.
    """
    if request.place is None:
        return
    resolved = request.resolved()
    names = [data_folder(request.artifacts, resolved.task_type, resolved.task).name]
    for stage in stages_of(resolved.architecture, resolved.model, resolved.task_type, resolved.task):
        names.append(stage.folder_name)
    missing = [name for name in names if not (request.artifacts / name).is_dir()]
    for tries in range(_TRIES):
        try:
            _fetch(request.place, missing, request.artifacts)
            return
        except StorageError as error:
            if tries + 1 == _TRIES:
                raise StorageError(request.place.unnamed(str(error))) from None
            time.sleep(_PAUSE_S * 2**tries)


def _fetch(place: RunPlace, names: list[str], artifacts: Path) -> None:
    if names:
        sweep = place.open()
        for name in names:
            fetch_prepared(sweep, name, artifacts)
