"""The record in segments: wherever the upload is cut, what lies in the storage is a prefix that can be gone on with."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import Failing, joined_record, line, stored

from orchestrator.record import JournalError
from orchestrator.storage import segments
from orchestrator.storage.lease import Ended, Lease, LeaseLost, acquire, new_owner, read_lease, renewed
from orchestrator.storage.segments import Joined, SegmentWriter, join_segments
from trainables.storage import StorageError, StoredFolder


def append(record: Path, numbers: range) -> None:
    with record.open("ab") as file:
        file.writelines(line(number, size=number % 50) for number in numbers)


def send_all(writer: SegmentWriter) -> None:
    while writer.send_next():
        pass


def take(sweep: StoredFolder, path: Path) -> tuple[Lease, Joined]:
    """A new driver, and the record that it has found, in ``path``."""
    found = read_lease(sweep)
    joined = Joined(0, 0)
    before: tuple[Ended, ...] = ()
    if found is not None:
        with path.open("wb") as file:
            joined = join_segments(sweep, found, file)
        before = (*found.before, Ended(found.owner, joined.segments, joined.size))
    lease = Lease(new_owner(), before=before)
    acquire(sweep, lease, settling_s=0.0)
    return lease, joined


@settings(max_examples=60, deadline=None)
@given(
    drivers=st.lists(
        st.tuples(st.lists(st.integers(0, 6), max_size=5), st.integers(0, 25), st.booleans()), min_size=1, max_size=4
    ),
    segment_bytes=st.integers(60, 400),
)
def test_cut_at_any_operation_a_prefix_is_left_and_the_next_driver_goes_on(
    drivers: list[tuple[list[int], int, bool]], segment_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "SEGMENT_BYTES", segment_bytes)
        storage, number, confirmed = Path(root, "storage"), 0, b""
        for index, (batches, operations, done_at_last) in enumerate(drivers):
            sound, record = stored(storage), Path(root, f"record-{index}")
            lease, joined = take(sound, record)
            found = record.read_bytes() if record.exists() else b""
            assert found.startswith(confirmed), "what was confirmed is there"
            assert found == b"" or found.endswith(b"\n"), "whole lines"
            failing = Failing.at(storage)
            failing.operations_left, failing.done_at_last = operations, done_at_last
            writer = SegmentWriter(failing, lease.owner, record, joined)
            confirmed = found
            try:
                for batch in batches:
                    append(record, range(number, number + batch))
                    number += batch
                    renewed(failing, lease)
                    send_all(writer)
                    confirmed = record.read_bytes() if record.exists() else b""
            except StorageError:
                assert (record.read_bytes() if record.exists() else b"").startswith(confirmed)
            lease_now = read_lease(sound)
            assert lease_now is not None and lease_now.owner == lease.owner
            whole = record.read_bytes() if record.exists() else b""
            assert whole.startswith(joined_record(sound, lease_now, Path(root, "joined")))


def test_what_a_driver_writes_after_it_has_lost_the_sweep_counts_for_nothing(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "storage")
    old_record, new_record = tmp_path / "old", tmp_path / "new"
    old_lease, joined = take(sweep, old_record)
    old = SegmentWriter(sweep, old_lease.owner, old_record, joined)
    append(old_record, range(5))
    send_all(old)
    new_lease, joined = take(sweep, new_record)
    assert new_record.read_bytes() == old_record.read_bytes()
    append(old_record, range(100, 110))
    send_all(old)  # it has not found out yet
    with pytest.raises(LeaseLost, match="another driver has taken"):
        renewed(sweep, old_lease)
    append(new_record, range(5, 9))
    send_all(SegmentWriter(sweep, new_lease.owner, new_record, joined))
    assert joined_record(sweep, new_lease, tmp_path / "joined") == new_record.read_bytes()
    third, joined = take(sweep, tmp_path / "third")
    assert (tmp_path / "third").read_bytes() == new_record.read_bytes() and len(third.before) == 2


def test_an_unfinished_line_is_not_sent(tmp_path: Path) -> None:
    sweep, record = stored(tmp_path / "storage"), tmp_path / "record"
    lease, joined = take(sweep, record)
    record.write_bytes(line(0) + line(1)[:7])
    writer = SegmentWriter(sweep, lease.owner, record, joined)
    send_all(writer)
    assert joined_record(sweep, lease, tmp_path / "joined") == line(0) and writer.behind == 7


def test_a_long_sweep_has_few_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 10_000)
    sweep, record = stored(tmp_path / "storage"), tmp_path / "record"
    lease, joined = take(sweep, record)
    writer = SegmentWriter(sweep, lease.owner, record, joined)
    for number in range(0, 400, 2):
        append(record, range(number, number + 2))
        send_all(writer)
    assert len(sweep.names("record")) == -(-record.stat().st_size // 10_000) < 10
    assert joined_record(sweep, lease, tmp_path / "joined") == record.read_bytes()


def test_a_missing_or_short_segment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 100)
    sweep, record = stored(tmp_path / "storage"), tmp_path / "record"
    lease, joined = take(sweep, record)
    append(record, range(10))
    send_all(SegmentWriter(sweep, lease.owner, record, joined))
    later, _ = take(sweep, tmp_path / "later")
    first, second, *_ = sweep.names("record")
    content = sweep.read(second)
    assert content is not None
    sweep.write(second, content[:-5])
    with pytest.raises(JournalError, match="restore the folder from a copy"):
        joined_record(sweep, later, tmp_path / "joined")
    sweep.remove(first)
    with pytest.raises(JournalError, match="restore the folder from a copy"):
        joined_record(sweep, later, tmp_path / "joined")
