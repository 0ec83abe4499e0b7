"""Prepared inputs: what runs share is made once, before any of them starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.space.specification import SweepSpecification
from orchestrator.space.task_values import data_configurations
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.stages import shared_stages
from trainables.configuration import Configuration
from trainables.file_fields import with_paths
from trainables.prepared import data_folder, is_prepared, prepare_data


def prepare_inputs(specification: SweepSpecification, sweep: SweepFolder) -> list[Path]:
    """Makes the data of every study; what is searched and cannot be listed is made by the first run that needs it.

    What another sweep of the same storage has made already is taken from there.

    Returns:
        The folders, each once.

    Raises:
        FileGone: data have to be made from a file that is not there, or has changed.
    """
    task_type, others = specification.task_type, other_artifacts(sweep)
    tasks = _tasks(specification)
    return list(dict.fromkeys(prepare_data(sweep.artifacts, task_type, task, others, specification.files) for task in tasks))


def require_files(specification: SweepSpecification, sweep: SweepFolder) -> None:
    """Demands the files from which :func:`prepare_inputs` would have to make data.

    Raises:
        FileGone: one is not there, or has changed.
    """
    roots = [sweep.artifacts, *other_artifacts(sweep)]
    for task in _tasks(specification):
        if not any(is_prepared(root, specification.task_type, task) for root in roots):
            with_paths(task, specification.files)


def input_names(specification: SweepSpecification, sweep: SweepFolder) -> list[str]:
    """The names of the folders below ``artifacts`` with the data and the stages that are known to be needed."""
    data = [data_folder(sweep.artifacts, specification.task_type, task).name for task in _tasks(specification)]
    return [*data, *(shared.folder_name for shared in shared_stages(specification))]


def _tasks(specification: SweepSpecification) -> Iterator[Configuration]:
    return (task for space in specification.spaces for task in data_configurations(space) or ())


def other_artifacts(sweep: SweepFolder) -> list[Path]:
    """Where the other sweeps of the same storage keep what they have prepared."""
    return [path for path in sorted(sweep.path.parent.glob(f"*/{sweep.artifacts.name}")) if path != sweep.artifacts]
