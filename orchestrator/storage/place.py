"""The sweeps of a storage behind a URI, and the folder of this machine in which their working copies lie."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from orchestrator.record.journal import JournalInUse
from orchestrator.storage.lease import (
    EXPIRY_S,
    LEASE,
    RENEWAL_S,
    Ended,
    Lease,
    acquire,
    await_expiry,
    new_owner,
    read_lease,
)  # fmt: skip
from orchestrator.storage.segments import Joined, SegmentWriter
from orchestrator.storage.upkeep import PATIENCE_S, StoredUpkeep
from orchestrator.storage.uploader import Uploader
from orchestrator.storage.working_copy import fetch_exhibits, refresh_record
from orchestrator.sweep.folder import SweepFolder
from trainables.storage import Location, StorageError, StoredFolder, cache_folder, is_uri, open_folder, parse_location
from trainables.storage.run_place import SweepPlace

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two processes on one working copy are not told apart there
    fcntl = None

Tell = Callable[[str], None]
_SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOCK_PATIENCE_S = 10.0


@dataclass(frozen=True)
class StoredSweeps:
    """A storage behind a URI."""

    location: Location
    expiry_s: float = EXPIRY_S
    renewal_s: float = RENEWAL_S

    @property
    def folder(self) -> Path:
        """Where this machine keeps working copies, MLflow's default store and the like."""
        return cache_folder(self.location)

    def open(self, name: str = "") -> StoredFolder:
        """The storage, or the folder of a sweep; raises StorageError, and FileNotFoundError where no sweep can have the name."""
        if name and not _SWEEP_NAME.fullmatch(name):
            raise FileNotFoundError(f"no sweep `{name}` in {self.location}: that is no name of a sweep")
        return open_folder(self.location.child(name) if name else self.location)

    def require_vacant(self, name: str) -> None:
        """Demands that there is no such sweep, and that the storage can be written.

        Raises:
            FileExistsError: there is one.
            StorageError: the storage cannot be reached, read or written.
        """
        self.open().require()
        sweep = self.open(name)
        if read_lease(sweep) is not None:
            raise FileExistsError(name)
        probe = f"probe-{new_owner()}"
        sweep.write(probe, b"may I write here?\n")
        sweep.remove(probe)

    def fetched(self, name: str, exhibits: bool = False) -> SweepFolder:
        """The working copy of a sweep, for reading: as new as the storage's, or as its driver's where that runs here.

        Raises:
            FileNotFoundError: there is no such sweep.
            JournalError: its record is damaged.
            StorageError: the storage cannot be read.
        """
        sweep, folder = self.open(name), SweepFolder(self.folder / name)
        lease = self._lease(sweep, name)
        with contextlib.suppress(JournalInUse), _working_copy(folder, patience_s=0.0):
            refresh_record(sweep, lease, folder, lambda text: None)
        if exhibits:
            fetch_exhibits(sweep, folder)
        return folder

    @contextlib.contextmanager
    def begun(self, name: str, tell: Tell) -> Iterator[StoredUpkeep]:
        """A new sweep, this process its driver; :meth:`require_vacant` has said that it may be made. Raises as :meth:`held`."""
        with self._driven(name, Lease(new_owner()), Joined(0, 0), tell) as upkeep:
            yield upkeep

    @contextlib.contextmanager
    def held(self, name: str, tell: Tell, take_over: bool = False) -> Iterator[StoredUpkeep]:
        """A sweep with this process as its driver, its record brought here first.

        Raises:
            FileNotFoundError: there is no such sweep.
            SweepInUse: another driver writes it, and is not to be dispossessed (``take_over``).
            LeaseLost: in the end, another driver has taken it over.
            JournalError: its record is damaged.
            StorageError: the storage cannot be reached, read or written.
        """
        sweep, folder = self.open(name), SweepFolder(self.folder / name)
        lease = read_lease(sweep) if folder.record.exists() else self._lease(sweep, name)
        joined = Joined(0, 0)
        drivers: tuple[Ended, ...] = ()
        with _working_copy(folder):
            if lease is not None:  # else its driver was lost before it had sent anything
                if not take_over:
                    await_expiry(sweep, lease, tell, self.expiry_s)
                joined = refresh_record(sweep, lease, folder, tell)
                drivers = (*lease.before, Ended(lease.owner, joined.segments, joined.size))
        with self._driven(name, Lease(new_owner(), before=drivers), joined, tell) as upkeep:
            yield upkeep

    @contextlib.contextmanager
    def _driven(self, name: str, lease: Lease, joined: Joined, tell: Tell) -> Iterator[StoredUpkeep]:
        sweep, folder = self.open(name), SweepFolder(self.folder / name)
        with _working_copy(folder):
            acquire(sweep, lease)
            writer = SegmentWriter(sweep, lease.owner, folder.record, joined)
            uploader = Uploader(sweep, lease, writer, tell, on_loss=_interrupt, interval_s=self.renewal_s)
            upkeep = StoredUpkeep(SweepPlace(self.location.uri, name), sweep, folder, uploader, lease.drivers)
            uploader.start()
            try:
                yield upkeep
            finally:
                settled = uploader.stop(PATIENCE_S)
                if uploader.loss is not None:
                    raise uploader.loss from None
                if not settled:
                    tell(_LEFT.format(behind=writer.behind, sweep=sweep, error=uploader.error, folder=folder.path, name=name))

    def _lease(self, sweep: StoredFolder, name: str) -> Lease:
        lease = read_lease(sweep)
        if lease is None:
            storage = self.open()
            known = [other for other in storage.folders() if storage.modified_s(f"{other}/{LEASE}") is not None]
            there = f"there are: {', '.join(known)}" if known else f"there are none in {storage}"
            raise FileNotFoundError(f"no sweep `{name}`; {there}")
        return lease


_LEFT = (
    "{behind} bytes of the record are not in {sweep} ({error}); nothing is lost while {folder} is there: "
    "`memsweep resume {name}` on this machine sends them"
)


def sweeps_at(text: str) -> StoredSweeps | None:
    """The storage that a ``--storage`` names; None for a folder.

    Raises:
        StorageError: it is a URI, and a wrong one.
    """
    return StoredSweeps(parse_location(text)) if is_uri(text) else None


def sweep_at(text: str) -> tuple[StoredSweeps, str] | None:
    """The storage and the name of the sweep whose URI a ``SWEEP`` is; None where it is none.

    Raises:
        StorageError: it is a URI, and a wrong one.
    """
    if not is_uri(text):
        return None
    location = parse_location(text)
    if location.parent.base.endswith((":/", "://")) or not location.name:
        raise StorageError(f"{location} names no sweep: write the URI of its storage and its name, such as {location}/NAME")
    return StoredSweeps(location.parent), location.name


@contextlib.contextmanager
def _working_copy(folder: SweepFolder, patience_s: float = _LOCK_PATIENCE_S) -> Iterator[None]:
    """This process alone changes the working copy.

    Raises:
        JournalInUse: another one does so.
    """
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    with folder.path.with_name(f".{folder.name}.lock").open("ab") as file:
        while fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise JournalInUse(
                        f"another driver on this machine is at work on this sweep, in {folder.path}: end it first"
                    ) from None
                time.sleep(0.1)
        yield


def _interrupt() -> None:
    """As Ctrl-C does: the sweep comes to an orderly end."""
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGINT)
