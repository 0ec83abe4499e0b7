"""The spool: what was appended is read back, whatever tears or damages the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracking.operations import Operation, decode, encode, merge
from orchestrator.tracking.spool import SEGMENT_BYTES, Spool, SpoolInUseError, read_segment

TEXTS = st.text(st.characters(codec="utf-8"))
OPERATIONS = st.builds(
    Operation,
    kind=st.just("tags"),
    run=st.from_regex(r"[A-Za-z0-9._:/@+-]{1,250}", fullmatch=True),
    timestamp_ms=st.integers(0, 2**53),
    payload=st.fixed_dictionaries({"tags": st.dictionaries(TEXTS, TEXTS, max_size=3)}),
)


def metric(step: int) -> Operation:
    return Operation("metrics", "s/1", 1000 + step, {"values": {"loss": 0.5}, "step": step})


@given(OPERATIONS)
def test_a_line_reads_back_as_it_was(operation: Operation) -> None:
    line = encode(operation)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode(line[:-1]) == operation


@given(OPERATIONS, st.data())
def test_a_damaged_line_is_never_taken(operation: Operation, data: st.DataObject) -> None:
    line = bytearray(encode(operation)[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(line)) is None


def test_a_non_finite_value_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(Operation("metrics", "s/1", 0, {"values": {"loss": float("nan")}, "step": 1}))


@given(st.lists(OPERATIONS, min_size=1, max_size=4), st.data())
def test_a_torn_segment_gives_the_operations_before_the_tear(
    tmp_path_factory: pytest.TempPathFactory, operations: list[Operation], data: st.DataObject
) -> None:
    lines = [encode(operation) for operation in operations]
    length = data.draw(st.integers(0, sum(map(len, lines))))
    path = tmp_path_factory.mktemp("torn") / "00000000.jsonl"
    path.write_bytes(b"".join(lines)[:length])
    whole = [sum(map(len, lines[: i + 1])) <= length for i in range(len(lines))].count(True)
    segment = read_segment(path)
    assert segment.operations == operations[:whole]
    assert segment.damaged == (length > sum(map(len, lines[:whole])))


def test_a_new_process_finds_what_was_left_and_appends_elsewhere(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append(metric(1))
    first.append(metric(2))
    first.close()
    (left,) = first.closed_segments()
    with left.open("ab") as file:
        file.write(encode(metric(3))[:-4])
    second = Spool(tmp_path)
    second.append(metric(4))
    second.rotate()
    assert (second.pending, second.damaged) == (3, 1)
    assert [read_segment(path).operations for path in second.closed_segments()] == [[metric(1), metric(2)], [metric(4)]]
    second.discard(left, 2)
    assert second.pending == 1 and not left.exists()
    second.close()


def test_a_full_disk_costs_only_the_operation_that_did_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, write = Spool(tmp_path), os.write
    spool.append(metric(1))
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:20]))
    with pytest.raises(OSError, match="No space left"):
        spool.append(metric(2))
    monkeypatch.undo()
    spool.append(metric(3))
    spool.close()
    kept = [operation for path in spool.closed_segments() for operation in read_segment(path).operations]
    assert kept == [metric(1), metric(3)] and spool.pending == 2


def test_a_large_active_segment_is_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(Operation("tags", "s/1", 0, {"tags": {"text": "x" * SEGMENT_BYTES}}))
    spool.synchronize()
    assert len(spool.closed_segments()) == 1
    spool.append(metric(1))
    spool.synchronize()
    assert len(spool.closed_segments()) == 1
    spool.close()


def test_two_users_of_one_folder_are_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolInUseError, match="in use"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_operations_of_a_run_merge_and_the_last_status_counts() -> None:
    opening = {"name": "n", "parent": "s", "tags": {"a": "1"}, "params": {"lr": "0.1"}}
    update, other = merge(
        [
            Operation("open", "s/1", 1, opening),
            metric(1),
            Operation("close", "s/1", 5, {"status": "KILLED"}),
            Operation("tags", "s/2", 6, {"tags": {"b": "2"}}),
            Operation("artifact", "s/3", 6, {"local_path": "x", "artifact_path": None}),
            Operation("reopen", "s/1", 7),
            metric(2),
            Operation("close", "s/1", 9, {"status": "FINISHED"}),
        ]
    )
    assert [(point.step, point.timestamp_ms) for point in update.metrics] == [(1, 1001), (2, 1002)]
    assert (update.status, update.status_ms, update.params) == ("FINISHED", 9, {"lr": "0.1"})
    assert (other.run, other.tags, other.opening, other.status) == ("s/2", {"b": "2"}, None, None)
