"""The working copy of a sweep: behind, ahead, and overtaken."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import line, stored

from orchestrator.command_line.sweep_places import run_at
from orchestrator.record.journal import JournalInUse
from orchestrator.storage.lease import Lease, acquire, new_owner
from orchestrator.storage.place import StoredSweeps, _working_copy, sweep_at
from orchestrator.storage.segments import Joined, SegmentWriter
from orchestrator.storage.working_copy import refresh_record
from orchestrator.sweep.folder import SweepFolder
from trainables.storage import StorageError, StoredFolder, parse_location

RECORD = b"".join(map(line, range(6)))


def stored_record(tmp_path: Path, content: bytes) -> tuple[StoredFolder, Lease]:
    sweep, lease = stored(tmp_path / "storage" / "small"), Lease(new_owner())
    acquire(sweep, lease, settling_s=0.0)
    path = tmp_path / "sent"
    path.write_bytes(content)
    SegmentWriter(sweep, lease.owner, path, Joined(0, 0)).send_next()
    return sweep, lease


@pytest.mark.parametrize(
    ("here", "then"),
    [
        (None, RECORD),
        (RECORD, RECORD),
        (line(0), RECORD),
        (RECORD + line(6), RECORD + line(6)),
        (RECORD + b'{"torn', RECORD + b'{"torn'),
    ],
)
def test_a_working_copy_gets_what_it_lacks_and_keeps_what_was_not_sent(tmp_path: Path, here: bytes | None, then: bytes) -> None:
    sweep, lease = stored_record(tmp_path, RECORD)
    folder = SweepFolder(tmp_path / "copy" / "small")
    if here is not None:
        folder.path.mkdir(parents=True)
        folder.record.write_bytes(here)
    told: list[str] = []
    joined = refresh_record(sweep, lease, folder, told.append)
    assert folder.record.read_bytes() == then and joined == Joined(1, len(RECORD)) and told == []
    assert [path.name for path in folder.path.iterdir()] == ["record.jsonl"]


def test_a_working_copy_that_another_driver_has_overtaken_is_set_aside(tmp_path: Path) -> None:
    sweep, lease = stored_record(tmp_path, RECORD)
    folder = SweepFolder(tmp_path / "copy" / "small")
    folder.spool.mkdir(parents=True)
    folder.record.write_bytes(line(0) + line(99))
    told: list[str] = []
    refresh_record(sweep, lease, folder, told.append)
    assert folder.record.read_bytes() == RECORD and not folder.spool.exists(), "what was delivered is counted in another record"
    (aside,) = folder.path.parent.glob("small.overtaken-*")
    assert (aside / "record.jsonl").read_bytes() == line(0) + line(99) and str(aside) in told[0]


def test_one_process_at_a_time_changes_a_working_copy(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "small")
    with _working_copy(folder), pytest.raises(JournalInUse, match="another driver on this machine"), _working_copy(folder, 0.0):
        pass


def test_a_sweep_is_named_by_its_uri(tmp_path: Path) -> None:
    stored_sweeps, name = sweep_at("s3://bucket/sweeps/small?region=eu-west-1") or (None, "")
    assert stored_sweeps == StoredSweeps(parse_location("s3://bucket/sweeps?region=eu-west-1")) and name == "small"
    assert sweep_at("sweeps/small") is None
    with pytest.raises(StorageError, match="names no sweep"):
        sweep_at("s3://small")


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_name_that_no_sweep_can_have_is_not_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no sweep"):
        StoredSweeps(parse_location(tmp_path.as_uri())).fetched(name)


def test_a_sweep_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "cache"))
    stored_record(tmp_path, RECORD)
    with pytest.raises(FileNotFoundError, match="there are: small"):
        StoredSweeps(parse_location((tmp_path / "storage").as_uri())).fetched("large")


def test_a_run_behind_a_uri_is_found_in_the_working_copy_of_its_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "cache"))
    stored_record(tmp_path, RECORD)
    uri = (tmp_path / "storage").as_uri()
    for run, storage in (
        (f"{uri}/small/gpt-0000-s0", "sweeps"),
        (f"{uri}/small/trials/gpt-0000-s0", "sweeps"),
        ("small/gpt-0000-s0", uri),
    ):
        found, folder = run_at(run, storage)
        assert found == f"{folder}/small/gpt-0000-s0" and (folder / "small" / "record.jsonl").read_bytes() == RECORD


def test_a_uri_with_a_query_keeps_it_with_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched = []

    def fetch(sweeps: StoredSweeps, name: str, exhibits: bool = False) -> SweepFolder:
        fetched.append((sweeps.location, name))
        return SweepFolder(tmp_path / name)

    monkeypatch.setattr(StoredSweeps, "fetched", fetch)
    assert run_at("s3://bucket/sweeps/small/gpt-0000-s0?region=eu-west-1", "sweeps")[0] == f"{tmp_path}/small/gpt-0000-s0"
    assert fetched == [(parse_location("s3://bucket/sweeps?region=eu-west-1"), "small")]


def test_a_sweep_in_place_of_a_run_is_told_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "cache"))
    stored_record(tmp_path, RECORD)
    sweep = (tmp_path / "storage" / "small").as_uri()
    with pytest.raises(FileNotFoundError, match=f"name one of its runs: {sweep}/RUN$"):
        run_at(sweep, "sweeps")
