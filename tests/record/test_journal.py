"""The record survives what a crash can do to a file, and refuses what only damage can."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.record import Journal, JournalError, read_journal
from orchestrator.record.journal import encode

EVENTS = [
    {"kind": "sweep", "name": "ünïcode", "lr": 1e-4},
    {"kind": "suggestion", "drawn": {"dk": 48, "text": 'a "quoted" line\nbreak, and ,"checksum":"00000000"}'}},
    {"kind": "result", "metrics": {"val/loss": 0.1 + 0.2}, "curve": [1, 2.5, None, True]},
    {"kind": "told", "number": 3, "told": {"state": "PRUNED", "intermediate": {"1": 0.5}}},
]


def written(path: Path, events: list[dict[str, Any]] = EVENTS) -> bytes:
    journal = Journal(path)
    for event in events:
        journal.append(event, durable=True)
    journal.close()
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "record.jsonl")
    assert read_journal(tmp_path / "record.jsonl") == EVENTS
    assert all(json.loads(line)["checksum"] for line in (tmp_path / "record.jsonl").read_text().splitlines())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), VALUES, min_size=1, max_size=4))
def test_any_event_is_one_line_that_reads_back_as_it_was(event: dict[str, Any]) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    if "checksum" not in event:
        body = json.loads(line)
        del body["checksum"]
        assert body == event


def test_a_torn_tail_loses_no_earlier_event(tmp_path: Path) -> None:
    """Cut at every byte of the last two lines, then continued."""
    path = tmp_path / "record.jsonl"
    content = written(path)
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(ends[-3], len(content) + 1):
        path.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends)
        assert read_journal(path) == EVENTS[:whole]
        assert path.read_bytes() == content[:cut]
        journal = Journal(path)
        journal.append({"kind": "end"})
        journal.close()
        assert read_journal(path) == [*EVENTS[:whole], {"kind": "end"}]


def test_damage_before_the_tail_is_refused_with_its_place(tmp_path: Path) -> None:
    """Every byte of the second line, one flipped at a time; its line break joins two lines into one that does not match."""
    path = tmp_path / "record.jsonl"
    content = written(path)
    start = content.index(b"\n") + 1
    end = content.index(b"\n", start) + 1
    for position in range(start, end):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        for read in (read_journal, Journal):
            with pytest.raises(JournalError, match=rf"line 2 \(byte {start}\)"):
                read(path)
        assert path.stat().st_size == len(content)


def test_a_line_that_is_missing_its_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    content = written(path)
    path.write_bytes(content + b'{"kind":"end"}\n')
    with pytest.raises(JournalError, match=f"line {len(EVENTS) + 1} "):
        read_journal(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "record.jsonl"
    content = written(path)
    journal = Journal(path)
    with pytest.raises(ValueError):
        journal.append({"kind": "result", "metrics": {"val/loss": [value]}})
    journal.close()
    assert path.read_bytes() == content


class FullDisk(io.RawIOBase):
    """Takes a few bytes of a write, then has no room."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("ab", buffering=0)
        self._room = room

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data: Any) -> int:
        if not self._room:
            raise OSError(28, "No space left on device")
        taken = self._file.write(bytes(data[: self._room]))
        self._room -= taken
        return taken


def test_a_full_disk_leaves_no_half_event(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    content = written(path)
    journal = Journal(path)
    sound, journal._file = journal._file, FullDisk(path, room=20)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        journal.append({"kind": "end", "padding": "x" * 100})
    assert path.read_bytes() == content
    journal._file = sound
    journal.append({"kind": "end"})
    assert read_journal(path) == [*EVENTS, {"kind": "end"}]


def test_a_write_that_is_cut_in_parts_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    written(path)
    journal = Journal(path)
    file = FullDisk(path, room=10**6)
    whole = file.write
    file.write = lambda data: whole(data[:7])  # type: ignore[method-assign]
    journal._file = file  # type: ignore[assignment]
    journal.append({"kind": "end", "padding": "x" * 100})
    assert read_journal(path)[-1]["padding"] == "x" * 100


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    """The tracker notes its run ids from a thread of its own."""
    path = tmp_path / "record.jsonl"
    journal = Journal(path)
    threads = [
        threading.Thread(target=lambda name=name: [journal.append({"writer": name, "n": n, "pad": "x" * 500}) for n in range(50)])
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = read_journal(path)
    assert len(events) == 200
    assert all([event["n"] for event in events if event["writer"] == name] == list(range(50)) for name in range(4))


def test_a_disk_that_fails_to_keep_what_it_took_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = Journal(tmp_path / "record.jsonl")
    journal.append({"kind": "a"})
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        journal.synchronize_soon()
        with pytest.raises(OSError, match="Input/output error"):
            until_told(journal)
    journal.close()


def until_told(journal: Journal) -> None:
    for _ in range(1000):
        journal.synchronize_soon()
        time.sleep(0.01)


def test_everything_is_on_the_disk_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronized: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synchronized.append(os.fstat(descriptor).st_size))
    journal = Journal(tmp_path / "record.jsonl")
    for number in range(50):
        journal.append({"kind": "a", "number": number})
        journal.synchronize_soon()
    journal.close()
    assert synchronized[-1] == journal.path.stat().st_size and len(synchronized) <= 51
