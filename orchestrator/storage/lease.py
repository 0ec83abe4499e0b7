"""``lease.json`` in a sweep's storage: which driver writes the sweep, and which segments of the record count.

A bucket cannot be locked and, through pyarrow, has no create-only write. So each driver writes segments under a name of its
own, and the lease, one object that is written whole, says how many of whose segments make the record: what a driver writes that
has lost the sweep counts for nothing.
"""

from __future__ import annotations

import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.record import JournalError
from orchestrator.record.journal import JournalInUse
from trainables.storage.folder import StoredFolder

LEASE = "lease.json"
FORMAT = 1
RENEWAL_S = 5.0
"""Between two renewals."""
EXPIRY_S = 30.0
"""A lease that was not renewed for so long may be taken over."""
SETTLING_S = 1.0
"""Of two drivers that take a sweep at the same moment, one finds after so long that the other was last."""
_TRIES = 5
_OWNER = re.compile(r"[0-9a-f]{12}")


class SweepInUse(JournalInUse):
    """Another living driver writes this sweep."""


class LeaseLost(JournalInUse):
    """Another driver has taken the sweep over."""


@dataclass(frozen=True)
class Ended:
    """What counts of a driver that writes the sweep no more."""

    owner: str
    segments: int
    """The number of its last segment; that of the driver before it where it wrote none."""
    size: int
    """Bytes of the record up to its end."""


@dataclass(frozen=True)
class Lease:
    """The driver that writes the sweep now, and those before it in their order."""

    owner: str
    renewals: int = 0
    released: bool = False
    """Its driver has ended in order."""
    before: tuple[Ended, ...] = ()

    def encoded(self) -> bytes:
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @property
    def drivers(self) -> list[str]:
        """The latest last."""
        return [*(ended.owner for ended in self.before), self.owner]


def new_owner() -> str:
    """A name for a driver: nobody else has it."""
    return uuid.uuid4().hex[:12]


def read_lease(sweep: StoredFolder) -> Lease | None:
    """The lease of a sweep; None where there is no sweep.

    Raises:
        JournalError: it is damaged, or of a newer version.
        StorageError: it cannot be read.
    """
    content = sweep.read(LEASE)
    if content is None:
        return None
    try:
        return _decoded(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JournalError(f"{sweep}/{LEASE} is damaged ({error}): restore it from a copy") from None


def _decoded(values: Mapping[str, Any]) -> Lease:
    if values["format"] != FORMAT:
        raise ValueError(f"it has format {values['format']!r}, this version reads {FORMAT}")
    before = tuple(Ended(_owner(link["owner"]), _count(link["segments"]), _count(link["size"])) for link in values["before"])
    if any(later.segments < earlier.segments or later.size < earlier.size for earlier, later in itertools.pairwise(before)):
        raise ValueError("its drivers are out of order")
    return Lease(_owner(values["owner"]), _count(values["renewals"]), values["released"] is True, before)


def _owner(value: Any) -> str:
    if not isinstance(value, str) or not _OWNER.fullmatch(value):
        raise ValueError(f"{value!r} is no driver")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def await_expiry(
    sweep: StoredFolder,
    lease: Lease,
    tell: Callable[[str], None],
    expiry_s: float = EXPIRY_S,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until the lease has expired; by the clock of the storage, as those of two machines may differ.

    Raises:
        SweepInUse: its driver renews it.
        StorageError: the storage cannot be read or written.
    """
    if lease.released:
        return
    remaining = expiry_s - _age_s(sweep)
    if remaining > 0:
        tell(
            f"the last driver of {sweep.location.name} did not end in order: waiting {remaining:.0f} s to see whether it is alive"
        )
    waited = 0.0
    while waited < remaining:
        wait(min(1.0, remaining - waited))
        waited += min(1.0, remaining - waited)
        if read_lease(sweep) != lease:
            raise SweepInUse(
                f"another driver is at work on {sweep}: end it first; to take the sweep from one that you cannot reach, "
                "give --take-over"
            )


def _age_s(sweep: StoredFolder) -> float:
    """How long ago the lease was renewed; infinite where the storage does not tell."""
    probe = f"probe-{uuid.uuid4().hex[:12]}"
    try:
        sweep.write(probe, b"now\n")
        now, renewed = sweep.modified_s(probe), sweep.modified_s(LEASE)
    finally:
        sweep.remove(probe)
    return float("inf") if now is None or renewed is None else now - renewed


def acquire(sweep: StoredFolder, lease: Lease, settling_s: float = SETTLING_S) -> None:
    """Writes the lease of a driver that takes the sweep.

    Raises:
        SweepInUse: another driver took it at the same moment.
    """
    dispossessed = lease.before[-1].owner if lease.before else None
    for _ in range(_TRIES):
        sweep.write(LEASE, lease.encoded())
        time.sleep(settling_s)
        found = read_lease(sweep)
        if found is None or found.owner != dispossessed:  # else it was just renewing, and has not found out
            break
    if found is None or found.owner != lease.owner:
        raise SweepInUse(f"another driver has taken {sweep} at the same moment: look what it does before trying again")


def renewed(sweep: StoredFolder, lease: Lease) -> Lease:
    """The lease, renewed; raises as :func:`require_owned`."""
    require_owned(sweep, lease)
    later = replace(lease, renewals=lease.renewals + 1)
    sweep.write(LEASE, later.encoded())
    return later


def release(sweep: StoredFolder, lease: Lease) -> None:
    """The driver ends in order; raises as :func:`require_owned`."""
    require_owned(sweep, lease)
    sweep.write(LEASE, replace(lease, released=True).encoded())


def require_owned(sweep: StoredFolder, lease: Lease) -> None:
    """Demands that the sweep is still this driver's.

    Raises:
        LeaseLost: it is not.
        StorageError: that cannot be found out.
    """
    found = read_lease(sweep)
    if found is None:
        raise LeaseLost(
            f"{sweep}/{LEASE} is gone: somebody has removed the sweep, and this driver stops; its working copy is kept"
        )
    if found.owner != lease.owner:
        raise LeaseLost(
            f"another driver has taken {sweep} over: this one stops, and what it did since counts for nothing. "
            "Its working copy is kept; go on with the other driver's sweep"
        )
