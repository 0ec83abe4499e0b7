"""Goes on with a sweep from its record: after a crash, with more trials, or with an edited space."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.check import check_feasibility
from orchestrator.launch.conduct import allocation_for, conduct, warm_up
from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.options import LaunchOptions, LaunchResult
from orchestrator.launch.tracked import refuse_tracking_elsewhere
from orchestrator.ray_executor.cluster import ray_cluster
from orchestrator.record import Journal, checked_events
from orchestrator.space.difference import describe_difference
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification, renamed
from orchestrator.storage import Upkeep
from orchestrator.sweep.consistency import consistent_state
from orchestrator.sweep.edition import make_edition
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import input_names, require_files
from orchestrator.sweep.recorded_space import (
    Events,
    files_as_recorded,
    last_total,
    recorded_specification,
    restore_copy,
    space_as_run,
    write_space,
)
from trainables.files import identity


@dataclass(frozen=True)
class _Continuation:
    """How a sweep goes on: its specification, and the event that says so."""

    specification: SweepSpecification
    event: dict[str, Any]


def resume(
    folder: SweepFolder, trials: int | None, options: LaunchOptions, observer: SweepObserver, edited: Path | None = None
) -> LaunchResult:
    """Goes on with a sweep that was interrupted or killed, or gives a finished one more trials or another space.

    Completed runs stay; those in flight go on from their last checkpoint, under the same MLflow runs. ``trials`` is the new total
    of each study; it holds for later resumptions too. With ``edited``, a search space, every trial that lies in it is kept and
    told to its sampler; the others stay in the record alone.

    Raises:
        JournalInUse: another driver is at work on it.
        TrackingElsewhere: it was tracked at a URI that is not given now.
        SpaceChangedByHand: the copy of the space in its folder was edited.
        SearchSpaceError: the edited space has mistakes, or no feasible structure.
        JournalError: the record is damaged.
        FileGone: data have to be made from a file that is not there, or has changed.
        ResourceError, StorageError, LeaseLost: as for :func:`orchestrator.launch.launch`.
    """
    with held(folder, options, observer) as upkeep, Journal(folder.record) as journal:
        events = checked_events(folder.record)
        refuse_tracking_elsewhere(folder, events[0], options.tracking_uri)
        restore_copy(folder, events)
        before = recorded_specification(folder, events, None if edited else trials)
        consistent_state(before, events, folder.record)
        after = before if edited is None else _edited(edited, before, trials)
        going_on = _continuation(events, before, after, trials, observer)
        upkeep.fetch_inputs(input_names(going_on.specification, folder))
        require_files(going_on.specification, folder)
        observer.preparing()
        with ray_cluster(options.address) as cluster:
            allocation = allocation_for(going_on.specification, cluster)
            sweep = OpenSweep(going_on.specification, folder, journal, events, upkeep)
            sweep.record(going_on.event)
            if going_on.event["kind"] == "edit":
                write_space(folder, going_on.event["space"])
            upkeep.send_files([folder.space])
            warm_up(sweep, options, observer)
            return conduct(sweep, allocation, options, observer)


def held(folder: SweepFolder, options: LaunchOptions, observer: SweepObserver) -> contextlib.AbstractContextManager[Upkeep]:
    """The sweep with this process as its driver; one whose storage is behind a URI has its record here then.

    Raises:
        SweepInUse: another driver writes it.
        FileNotFoundError: there is no such sweep.
        StorageError: the storage cannot be reached, read or written.
    """
    if options.stored is None:
        return contextlib.nullcontext(Upkeep())
    return options.stored.held(folder.name, lambda text: observer.warned("storage", text), options.take_over)


def _edited(path: Path, before: SweepSpecification, trials: int | None) -> SweepSpecification:
    overrides = [f"search.trials={trials}"] if trials else []
    specification = renamed(read_search_space(path, overrides, before.named_files), before.name)
    _, diagnostics = check_feasibility(specification)
    diagnostics.raise_if_any(specification.source)
    return specification


def _with_files_found(before: SweepSpecification, after: SweepSpecification) -> SweepSpecification:
    """``before``, with its files where ``after`` has found the same contents, under whatever names."""
    found = {identity(named.reference): named.path for named in after.named_files.values()}
    files = {
        written: replace(named, path=found.get(identity(named.reference), named.path))
        for written, named in before.named_files.items()
    }
    return replace(before, named_files=files)


def _continuation(
    events: Events, before: SweepSpecification, after: SweepSpecification, trials: int | None, observer: SweepObserver
) -> _Continuation:
    changes = [] if after is before else describe_difference(before, after)
    if not changes:
        total = trials or last_total(events)
        event = {"kind": "resume", "trials": total, "version": orchestrator.__version__}
        return _Continuation(_with_files_found(before, after), event)
    edition, state = make_edition(after, events)
    observer.edited(changes, edition.summary(state))
    text = after.source.text if trials else space_as_run(after)
    told = {"kind": "edit", "trials": trials, "space": text, "kept": edition.kept, "version": orchestrator.__version__}
    return _Continuation(after, {**told, **files_as_recorded(after)})
