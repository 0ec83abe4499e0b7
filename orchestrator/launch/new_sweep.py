"""Runs a new sweep."""

from __future__ import annotations

import uuid
from typing import Any

import orchestrator
from orchestrator.launch.conduct import allocation_for, conduct, warm_up
from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.options import LaunchOptions, LaunchResult, SweepExists
from orchestrator.ray_executor.cluster import ray_cluster
from orchestrator.record import Journal
from orchestrator.record.validation import RECORD_FORMAT
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.folder import SweepFolder, find_sweep
from orchestrator.sweep.recorded_space import files_as_recorded, space_as_run, write_space


def launch(specification: SweepSpecification, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Runs a new sweep to its end, or to Ctrl-C.

    Raises:
        SweepExists: the name is taken.
        FileNotFoundError: a sweep of ``search.warm_start`` is not there.
        ResourceError: the cluster cannot hold a single run, or has not what the objective measures.
        In each case nothing is written.
    """
    _vacant_folder(options)
    for source in specification.search.warm_start:
        find_sweep(source, options.storage)
    observer.preparing()
    with ray_cluster(options.address) as cluster:
        allocation = allocation_for(specification, cluster)
        folder = _create_folder(options)
        with Journal(folder.record) as journal:
            sweep = OpenSweep(specification, folder, journal, [])
            header = _header(specification, options)
            sweep.record(header)
            write_space(folder, header["space"])
            warm_up(sweep, options, observer)
            return conduct(sweep, allocation, options, observer)


def _create_folder(options: LaunchOptions) -> SweepFolder:
    folder = _vacant_folder(options)
    for path in (folder.path, folder.trials, folder.spool, folder.artifacts, folder.tune):
        path.mkdir(parents=True, exist_ok=True)
    return folder


def _vacant_folder(options: LaunchOptions) -> SweepFolder:
    folder = SweepFolder(options.storage / options.name)
    if folder.record.exists():
        raise SweepExists(
            f"the sweep `{options.name}` exists in {options.storage}: continue it with `memsweep resume {options.name}`, "
            "or choose another --name"
        )
    return folder


def _header(specification: SweepSpecification, options: LaunchOptions) -> dict[str, Any]:
    """The first event. A tracking URI may hold a password, so only whether one was given is recorded."""
    return {
        "kind": "sweep",
        "format": RECORD_FORMAT,
        "name": specification.name,
        "identity": uuid.uuid4().hex[:12],
        "version": orchestrator.__version__,
        "task": specification.task_type.name,
        "space": space_as_run(specification),
        "own_tracking": options.tracking_uri is not None,
        **files_as_recorded(specification),
    }
