"""One driver at a time: by a lease that is renewed, by the clock of the storage."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from stored import stored

from orchestrator.record import JournalError
from orchestrator.storage.lease import (
    LEASE,
    Lease,
    LeaseLost,
    SweepInUse,
    acquire,
    await_expiry,
    new_owner,
    read_lease,
    release,
    renewed,
)
from trainables.storage import StoredFolder


def lease_of(sweep: StoredFolder) -> Lease:
    lease = Lease(new_owner())
    acquire(sweep, lease, settling_s=0.0)
    return lease


def made_old(path: Path, seconds: float) -> None:
    os.utime(path / LEASE, (time.time() - seconds,) * 2)


def test_a_lease_that_is_renewed_keeps_others_out(tmp_path: Path) -> None:
    sweep = stored(tmp_path)
    lease = lease_of(sweep)
    told: list[str] = []
    with pytest.raises(SweepInUse, match="--take-over"):
        await_expiry(sweep, lease, told.append, wait=lambda seconds: live(sweep, lease))
    assert "waiting 30 s" in told[0] or "waiting 29 s" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == [LEASE], "the probe is gone"


def live(sweep: StoredFolder, lease: Lease) -> None:
    """The other driver lives."""
    renewed(sweep, lease)


def test_a_lease_that_is_not_renewed_expires_after_the_time_that_is_left(tmp_path: Path) -> None:
    sweep, waited = stored(tmp_path), [0.0]
    lease = lease_of(sweep)
    made_old(tmp_path, 20)
    await_expiry(sweep, lease, lambda text: None, wait=lambda seconds: waited.append(seconds))
    assert 8 <= sum(waited) <= 10.5


def test_an_old_or_released_lease_is_not_waited_for(tmp_path: Path) -> None:
    sweep = stored(tmp_path)
    lease = lease_of(sweep)

    def refuse(seconds: float) -> None:
        raise AssertionError("nothing to wait for")

    made_old(tmp_path, 31)
    await_expiry(sweep, lease, lambda text: None, wait=refuse)
    release(sweep, lease)
    released = read_lease(sweep)
    assert released is not None and released.released
    await_expiry(sweep, released, lambda text: None, wait=refuse)


def test_of_two_drivers_at_the_same_moment_one_goes_on(tmp_path: Path) -> None:
    sweep = stored(tmp_path)
    first, second = Lease(new_owner()), Lease(new_owner())

    class Slow(StoredFolder):
        """Between its write and its look another driver writes."""

        def write(self, name: str, content: bytes) -> None:
            super().write(name, content)
            sweep.write(LEASE, second.encoded())

    with pytest.raises(SweepInUse, match="at the same moment"):
        acquire(Slow(sweep.location, sweep._system), first, settling_s=0.0)
    acquire(sweep, second, settling_s=0.0)
    assert renewed(sweep, second).renewals == 1


def test_a_driver_that_has_lost_the_sweep_finds_out(tmp_path: Path) -> None:
    sweep = stored(tmp_path)
    lease = lease_of(sweep)
    lease_of(sweep)
    with pytest.raises(LeaseLost, match="another driver has taken"):
        renewed(sweep, lease)
    sweep.remove(LEASE)
    with pytest.raises(LeaseLost, match="is gone"):
        renewed(sweep, lease)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"format": 2}',
        b'{"format": 1, "owner": "../x", "renewals": 0, "released": false, "before": []}',
        b'{"format": 1, "owner": "0123456789ab", "renewals": -1, "released": false, "before": []}',
        b'{"format": 1, "owner": "0123456789ab", "renewals": 0, "released": false, "before": [{"owner": 1}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_lease_is_told(tmp_path: Path, content: bytes) -> None:
    sweep = stored(tmp_path)
    sweep.write(LEASE, content)
    with pytest.raises(JournalError, match=r"lease\.json is damaged"):
        read_lease(sweep)
