"""What ``--storage`` and SWEEP name: a folder, or a place behind a URI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.launch import LaunchOptions
    from orchestrator.storage import StoredSweeps
    from orchestrator.sweep.folder import SweepFolder

DEFAULT_STORAGE = "sweeps"

Storage = Annotated[
    str, typer.Option("--storage", metavar="DIR_OR_URI", help="where sweeps are kept: a folder, or s3://, gs://, file:///")
]


def storage_folder(storage: str) -> Path:
    """The folder of a storage; of one behind a URI, this machine's working copies."""
    stored = _stored(storage)
    return Path(storage) if stored is None else stored.folder


def options_at(storage: str, name: str, tracking_uri: str | None, address: str | None = None) -> LaunchOptions:
    """What a command line says of a new sweep."""
    from orchestrator.launch import LaunchOptions

    stored = _stored(storage)
    return LaunchOptions(storage_folder(storage), name, tracking_uri, address, stored)


def found_sweep(
    sweep: str, storage: str, tracking_uri: str | None, address: str | None = None, take_over: bool = False
) -> tuple[SweepFolder, LaunchOptions]:
    """The sweep that SWEEP names, to be written.

    Raises:
        FileNotFoundError: there is none; of a storage behind a URI that is found out later.
        StorageError: a URI is wrong.
    """
    from orchestrator.launch import LaunchOptions
    from orchestrator.sweep.folder import SweepFolder, find_sweep

    found = _at_uri(sweep, storage)
    if found is None:
        folder = find_sweep(sweep, Path(storage))
        return folder, LaunchOptions(folder.path.parent, folder.name, tracking_uri, address)
    stored, name = found
    folder = SweepFolder(stored.folder / name)
    return folder, LaunchOptions(stored.folder, name, tracking_uri, address, stored, take_over)


def read_sweep(sweep: str, storage: str, exhibits: bool = False) -> SweepFolder:
    """The sweep that SWEEP names, to be read; raises as :func:`found_sweep`, and JournalError where its record is damaged."""
    from orchestrator.sweep.folder import find_sweep

    found = _at_uri(sweep, storage)
    return find_sweep(sweep, Path(storage)) if found is None else found[0].fetched(found[1], exhibits)


def run_at(run: str, storage: str) -> tuple[str, Path]:
    """RUN and the storage folder in which it is found, after its sweep was fetched where that is behind a URI; raises as
    :func:`read_sweep`."""
    path, mark, query = run.partition("?")
    sweep, slash, name = path.rstrip("/").rpartition("/")
    sweep = sweep.removesuffix("/trials") + mark + query
    if not slash or _at_uri(sweep, storage) is None:
        return run, storage_folder(storage)
    try:
        folder = read_sweep(sweep, storage)
    except FileNotFoundError as error:
        named = f"{path.rstrip('/')}/RUN{mark}{query}"
        raise FileNotFoundError(f"{error}; if `{run}` is the sweep, name one of its runs: {named}") from None
    return f"{folder.path}/{name}", folder.path.parent


def _at_uri(sweep: str, storage: str) -> tuple[StoredSweeps, str] | None:
    from orchestrator.storage.place import sweep_at

    named = sweep_at(sweep)
    if named is not None:
        return named
    stored = _stored(storage)
    return None if stored is None or Path(sweep, "record.jsonl").is_file() else (stored, sweep)


def _stored(storage: str) -> StoredSweeps | None:
    from orchestrator.storage import sweeps_at

    return sweeps_at(storage)


def where_mlflow_is(options: LaunchOptions) -> str | None:
    """What is to be said of MLflow's store where it is not in the storage; None where that needs no word."""
    if options.stored is None or options.tracking_uri is not None:
        return None
    return (
        f"MLflow: {options.stored.folder / 'mlflow.db'}, on this machine alone. On a cluster a server is better "
        "(--tracking-uri); if this machine is lost, `memsweep sync SWEEP --all` fills another store from the record"
    )
