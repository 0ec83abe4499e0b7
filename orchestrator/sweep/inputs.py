"""Prepared inputs: what runs share is made once, before any of them starts."""

from __future__ import annotations

import functools
from pathlib import Path

from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Constant
from orchestrator.sweep.folder import SweepFolder
from trainables.prepared import prepare_once


def prepare_inputs(specification: SweepSpecification, sweep: SweepFolder) -> list[Path]:
    """Makes the data of every study whose task has no searched field; what is searched is made by the first run that needs it.

    What another sweep of the same storage has made already is taken from there.

    Returns:
        The folders, each once.
    """
    folders: dict[Path, None] = {}
    for space in specification.spaces:
        values = _task_values(space)
        if values is None:
            continue
        task = space.task_type.configuration_type.from_values(values)
        prepare = functools.partial(space.task_type.prepare, task)
        others = sweep.path.parent.glob(f"*/{sweep.artifacts.name}")
        folders[prepare_once(sweep.artifacts, space.task_type.name, task.to_values(), prepare, others)] = None
    return list(folders)


def _task_values(space: StudySpace) -> dict[str, object] | None:
    fields = {name: field.value for name, field in space.fields.items() if name.startswith("task.")}
    if not all(isinstance(value, Constant) for value in fields.values()):
        return None
    return {name.removeprefix("task."): value.value for name, value in fields.items() if isinstance(value, Constant)}
