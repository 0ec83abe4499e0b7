"""Runs a new sweep."""

from __future__ import annotations

import contextlib
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
from orchestrator.storage import Upkeep
from orchestrator.sweep.folder import SweepFolder, find_sweep
from orchestrator.sweep.recorded_space import files_as_recorded, space_as_run, write_space


def launch(specification: SweepSpecification, options: LaunchOptions, observer: SweepObserver) -> LaunchResult:
    """Runs a new sweep to its end, or to Ctrl-C.

    Raises:
        SweepExists: the name is taken.
        FileNotFoundError: a sweep of ``search.warm_start`` is not there.
        ResourceError: the cluster cannot hold a single run, or has not what the objective measures.
        StorageError: the storage cannot be reached, read or written.
        In each case nothing is written.
        LeaseLost: in the end, another driver has taken the sweep over.
    """
    _require_vacant(options)
    for source in specification.search.warm_start:
        fetch_source(source, options)
        find_sweep(source, options.storage)
    observer.preparing()
    with ray_cluster(options.address) as cluster:
        allocation = allocation_for(specification, cluster)
        with _begun(options, observer) as upkeep, Journal(_create_folder(options).record) as journal:
            folder = SweepFolder(options.storage / options.name)
            sweep = OpenSweep(specification, folder, journal, [], upkeep)
            header = _header(specification, options)
            sweep.record(header)
            write_space(folder, header["space"])
            upkeep.send_files([folder.space])
            warm_up(sweep, options, observer)
            return conduct(sweep, allocation, options, observer)


def fetch_source(source: str, options: LaunchOptions) -> None:
    """Brings an earlier sweep of the same storage here; one that is not there may lie in a folder.

    Raises:
        StorageError: the storage cannot be read.
    """
    if options.stored is not None:
        with contextlib.suppress(FileNotFoundError):
            options.stored.fetched(source)


def _begun(options: LaunchOptions, observer: SweepObserver) -> contextlib.AbstractContextManager[Upkeep]:
    if options.stored is None:
        return contextlib.nullcontext(Upkeep())
    return options.stored.begun(options.name, lambda text: observer.warned("storage", text))


def _create_folder(options: LaunchOptions) -> SweepFolder:
    folder = _vacant_folder(options)
    for path in (folder.path, folder.trials, folder.spool, folder.artifacts, folder.tune):
        path.mkdir(parents=True, exist_ok=True)
    return folder


def _require_vacant(options: LaunchOptions) -> None:
    """Demands that there is no sweep of the name, here and in the storage."""
    _vacant_folder(options)
    if options.stored is not None:
        try:
            options.stored.require_vacant(options.name)
        except FileExistsError:
            raise _exists(options) from None


def _vacant_folder(options: LaunchOptions) -> SweepFolder:
    folder = SweepFolder(options.storage / options.name)
    if folder.record.exists():
        raise _exists(options)
    return folder


def _exists(options: LaunchOptions) -> SweepExists:
    where, sweep = str(options.storage), options.name
    if options.stored is not None:
        where, sweep = str(options.stored.location), options.stored.location.child(options.name).uri
    return SweepExists(
        f"the sweep `{options.name}` exists in {where}: continue it with `memsweep resume {sweep}`, or choose another --name"
    )


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
