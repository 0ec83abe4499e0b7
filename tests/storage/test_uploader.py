"""The thread that sends the record: outages cost a warning, a lost lease ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from stored import Failing, joined_record, line, stored

from orchestrator.storage.lease import LEASE, Ended, Lease, acquire, new_owner, read_lease
from orchestrator.storage.segments import Joined, SegmentWriter
from orchestrator.storage.uploader import Uploader
from trainables.storage import StorageError

DEADLINE_S = 20.0


class Driver:
    """An uploader and what it said."""

    def __init__(self, path: Path, on_loss: Callable[[], None] = lambda: None) -> None:
        self.sweep = Failing.at(path / "storage")
        self.record = path / "record.jsonl"
        self.told: list[str] = []
        self.spoke = threading.Event()
        lease = Lease(new_owner())
        acquire(stored(path / "storage"), lease, settling_s=0.0)
        self.owner = lease.owner
        writer = SegmentWriter(self.sweep, lease.owner, self.record, Joined(0, 0))
        self.uploader = Uploader(self.sweep, lease, writer, self._hear, on_loss, interval_s=0.05)

    def _hear(self, text: str) -> None:
        self.told.append(text)
        self.spoke.set()

    def wait_for_word(self) -> str:
        assert self.spoke.wait(DEADLINE_S)
        self.spoke.clear()
        return self.told[-1]

    def append(self, number: int) -> None:
        with self.record.open("ab") as file:
            file.write(line(number))


def test_an_outage_is_told_once_and_what_was_recorded_meanwhile_is_sent_afterwards(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.append(0)
    driver.uploader.start()
    assert driver.uploader.settle(DEADLINE_S)
    driver.sweep.operations_left = 0
    driver.append(1)
    assert "the storage is away" in driver.wait_for_word()
    driver.append(2)
    assert not driver.uploader.settle(0.3) and driver.uploader.behind_s > 0 and driver.uploader.error == "the storage is away"
    driver.sweep.operations_left = 10**9
    assert "has everything again" in driver.wait_for_word()
    assert driver.uploader.stop(DEADLINE_S) and len(driver.told) == 2
    lease = read_lease(driver.sweep)
    assert lease is not None and lease.released
    assert joined_record(driver.sweep, lease, tmp_path / "joined") == driver.record.read_bytes()


def test_a_driver_that_has_lost_the_sweep_stops_and_writes_nothing_more(tmp_path: Path) -> None:
    lost = threading.Event()
    driver = Driver(tmp_path, lost.set)
    driver.append(0)
    driver.uploader.start()
    assert driver.uploader.settle(DEADLINE_S)
    other = Lease(new_owner(), before=(Ended(driver.owner, 1, driver.record.stat().st_size),))
    acquire(stored(tmp_path / "storage"), other, settling_s=0.5)  # a renewal under way may come after it
    assert lost.wait(DEADLINE_S)
    driver.uploader.join(DEADLINE_S)
    assert driver.uploader.loss is not None and not driver.uploader.is_alive()
    before = {name: driver.sweep.read(name) for name in driver.sweep.names()}
    driver.append(1)
    assert not driver.uploader.stop(0.1)
    assert {name: driver.sweep.read(name) for name in driver.sweep.names()} == before


def test_what_may_wait_is_tried_again_and_holds_up_nothing(tmp_path: Path) -> None:
    driver, done = Driver(tmp_path), []

    def fails_twice() -> None:
        done.append("tried")
        if len(done) < 3:
            raise StorageError("not yet")

    def never() -> None:
        raise StorageError("never")

    driver.append(0)
    driver.uploader.later(never)
    driver.uploader.later(fails_twice)
    driver.uploader.start()
    assert driver.uploader.settle(DEADLINE_S) and done == ["tried"] * 3
    assert driver.uploader.stop(DEADLINE_S) and "never" in driver.told[0]


def test_a_sweep_that_never_began_leaves_no_lease(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.uploader.start()
    assert driver.uploader.stop(DEADLINE_S)
    assert driver.sweep.read(LEASE) is None
