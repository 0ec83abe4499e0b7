"""Two drivers on one stored sweep, in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import line

from orchestrator.storage import LeaseLost, SweepInUse
from orchestrator.storage import place as place_module
from orchestrator.storage.lease import read_lease
from orchestrator.storage.place import StoredSweeps
from trainables.storage import parse_location


def told(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredSweeps:
    """A storage whose leases are renewed soon, looked at from the first machine."""
    monkeypatch.setattr(place_module, "_interrupt", lambda: None)
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "first"))
    return StoredSweeps(parse_location((tmp_path / "storage").as_uri()), expiry_s=10.0, renewal_s=0.2)


def test_a_sweep_that_is_driven_is_refused_and_may_be_taken_over(
    sweeps: StoredSweeps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.require_vacant("small")
    first = sweeps.begun("small", told)
    upkeep = first.__enter__()
    record = sweeps.folder / "small" / "record.jsonl"
    record.parent.mkdir(parents=True)
    record.write_bytes(line(0))
    upkeep._uploader.settle(10.0)
    with pytest.raises(FileExistsError):
        sweeps.require_vacant("small")
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "second"))
    with pytest.raises(SweepInUse, match="--take-over"), sweeps.held("small", told):
        pass
    with sweeps.held("small", told, take_over=True) as taken:
        assert (sweeps.folder / "small" / "record.jsonl").read_bytes() == line(0)
        upkeep._uploader.join(20.0)
        assert upkeep.loss is not None and taken.loss is None
        with (sweeps.folder / "small" / "record.jsonl").open("ab") as file:
            file.write(line(1))
    with pytest.raises(LeaseLost, match="another driver has taken"):
        first.__exit__(None, None, None)
    lease = read_lease(sweeps.open("small"))
    assert lease is not None and lease.released and len(lease.before) == 1
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "third"))
    assert sweeps.fetched("small").record.read_bytes() == line(0) + line(1)
