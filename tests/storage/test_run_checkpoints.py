"""Checkpoints in a storage: found from any machine, never too far ahead of the record, removed when nobody needs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored import Failing, stored

from orchestrator.storage.publication import EndedRun, publish_run, runs_with_attempts
from trainables.storage import RunPlace, StorageError, StoredFolder
from trainables.storage.checkpoints import SAFE_AFTER_S, RunCheckpoints
from trainables.training.keeper import CheckpointKeeper
from trainables.training.request import Keep, RunRequest

OLD, NEW = "0" * 12, "1" * 12


def place(attempt: int = 1, driver: str = NEW, recorded: int = 0) -> RunPlace:
    return RunPlace("file:///nowhere", "sweep", "gpt-0000-s0", attempt, driver, recorded)


def put(sweep: StoredFolder, attempt: str, name: str, content: str = "") -> None:
    sweep.write(f"trials/gpt-0000-s0/attempts/{attempt}/{name}", (content or f"{attempt}/{name}").encode())


def found(sweep: StoredFolder, folder: Path, recorded: int) -> list[str]:
    checkpoints = RunCheckpoints(place(9, recorded=recorded), sweep)
    return [path.read_text() for path in checkpoints.fetched(folder)]


def test_the_furthest_checkpoint_that_leaves_no_gap_comes_first(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "storage")
    for attempt, name in [(f"1.{OLD}", "checkpoint-3.pt"), (f"2.{OLD}", "checkpoint-7.pt"), (f"1.{NEW}", "checkpoint-4.pt")]:
        put(sweep, attempt, name)
    put(sweep, f"2.{OLD}", "best.pt")
    put(sweep, "odd", "checkpoint-2.pt")
    assert found(sweep, tmp_path / "here", 6) == [
        f"2.{OLD}/checkpoint-7.pt",
        f"1.{NEW}/checkpoint-4.pt",
        f"1.{OLD}/checkpoint-3.pt",
    ]
    assert found(sweep, tmp_path / "here", 5) == [f"1.{NEW}/checkpoint-4.pt", f"1.{OLD}/checkpoint-3.pt"]
    assert list((tmp_path / "here").iterdir()) == [], "nothing is left on this machine"
    with pytest.raises(StorageError, match="the record ends at step 1 and the earliest checkpoint is of step 3"):
        found(sweep, tmp_path / "here", 1)
    assert found(stored(tmp_path / "empty"), tmp_path / "here", 0) == []


def test_superseded_checkpoints_go_when_the_record_has_their_steps(tmp_path: Path) -> None:
    sweep, now = stored(tmp_path / "storage"), [1000.0]
    put(sweep, f"1.{OLD}", "checkpoint-3.pt")
    checkpoints = RunCheckpoints(place(2, recorded=3), sweep, clock=lambda: now[0])
    assert len(list(checkpoints.fetched(tmp_path / "here"))) == 1
    local = tmp_path / "checkpoint.pt"
    local.write_text("state")
    kept = []
    for step in (5, 6, 7, 8):
        checkpoints.send_last(local, step)
        kept.append([name.rpartition("-")[2] for name in sweep.names("trials")])
        now[0] += SAFE_AFTER_S / 2
    assert kept == [["3.pt", "5.pt"], ["3.pt", "5.pt", "6.pt"], ["5.pt", "6.pt", "7.pt"], ["6.pt", "7.pt", "8.pt"]]


def test_a_storage_that_is_away_is_an_error_of_a_file(tmp_path: Path) -> None:
    sweep = Failing.at(tmp_path)
    sweep.operations_left = 0
    (tmp_path / "checkpoint.pt").write_text("state")
    with pytest.raises(OSError, match="the storage is away"):
        RunCheckpoints(place(), sweep).send_last(tmp_path / "checkpoint.pt", 1)


ATTEMPTS = {
    f"1.{OLD}": ["checkpoint-3.pt", "best.pt"],
    f"2.{NEW}": ["checkpoint-5.pt", "checkpoint-6.pt", "best.pt", "exhibits/a.png"],
    f"2.{'f' * 12}": ["checkpoint-9.pt", "exhibits/a.png"],
}
"""The last is of a driver that the lease does not know."""


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("last", {"checkpoint.pt": f"2.{NEW}/checkpoint-6.pt"}),
        ("best", {"best.pt": f"2.{NEW}/best.pt"}),
        ("none", {}),
    ],
)
def test_what_is_kept_of_an_ended_run_is_published_and_its_attempts_are_removed(
    tmp_path: Path, keep: Keep, left: dict[str, str]
) -> None:
    sweep = stored(tmp_path)
    for attempt, names in ATTEMPTS.items():
        for name in names:
            put(sweep, attempt, name)
    assert runs_with_attempts(sweep) == ["gpt-0000-s0"]
    for _ in range(2):
        publish_run(sweep, EndedRun("gpt-0000-s0", 2, 6), keep, [OLD, NEW])
        files = {name.removeprefix("trials/gpt-0000-s0/"): (sweep.read(name) or b"").decode() for name in sweep.names()}
        assert files == left | {"exhibits/a.png": f"2.{NEW}/exhibits/a.png"}
    assert runs_with_attempts(sweep) == []


def test_the_checkpoint_of_an_earlier_attempt_is_published_where_the_last_left_none(tmp_path: Path) -> None:
    sweep = stored(tmp_path)
    put(sweep, f"1.{OLD}", "checkpoint-3.pt")
    put(sweep, f"2.{NEW}", "notes.txt")
    publish_run(sweep, EndedRun("gpt-0000-s0", 2, 3), "last", [OLD, NEW])
    assert sweep.read("trials/gpt-0000-s0/checkpoint.pt") == f"1.{OLD}/checkpoint-3.pt".encode()
    put(sweep, f"1.{OLD}", "checkpoint-2.pt")  # an old process of a machine that was cut off
    publish_run(sweep, EndedRun("gpt-0000-s0", 2, 3), "last", [OLD, NEW])
    assert sweep.read("trials/gpt-0000-s0/checkpoint.pt") == f"1.{OLD}/checkpoint-3.pt".encode()
    assert sweep.names() == ["trials/gpt-0000-s0/checkpoint.pt"]


class Progressing:
    """As much of a session as a keeper needs: its checkpoint is its progress."""

    progress = 0

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.progress))

    def load(self, path: Path) -> None:
        self.progress = int(path.read_text())


def keeper_of(attempt: int, recorded: int, uri: str) -> tuple[CheckpointKeeper, Progressing]:
    request = RunRequest(run="gpt-0000-s0", attempt=attempt, architecture="gpt", task="mqar", artifacts=Path("nowhere"))
    placed = request.placed(RunPlace(uri, "sweep", request.run, attempt, NEW, recorded))
    return CheckpointKeeper(RunRequest.from_dict(json.loads(json.dumps(placed.to_dict())))), Progressing()


def test_a_run_goes_on_from_its_storage_on_another_machine_and_leaves_nothing_on_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "storage").as_uri()
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "first"))
    keeper, session = keeper_of(1, 0, uri)
    for session.progress in (3, 4):
        keeper.keep_last(session)
    assert keeper.take_warning() is None and not [path for path in (tmp_path / "first").rglob("*") if path.is_file()]
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "second"))
    keeper, session = keeper_of(2, 2, uri)
    keeper.continue_session(session)
    assert session.progress == 3 and keeper.take_warning() is None
    keeper, session = keeper_of(2, 1, uri)
    keeper.continue_session(session)
    assert session.progress == 0 and "starts from the beginning: the record ends at step 1" in (keeper.take_warning() or "")


def test_a_storage_that_is_away_costs_a_warning_that_does_not_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path / "here"))
    (tmp_path / "storage").write_text("no folder")
    keeper, session = keeper_of(1, 0, (tmp_path / "storage").as_uri())
    session.progress = 3
    keeper.keep_last(session)
    warning = keeper.take_warning() or ""
    assert "checkpoint.pt could not be written: STORAGE/sweep/trials" in warning and "file://" not in warning
    keeper, session = keeper_of(2, 3, (tmp_path / "storage").as_uri())
    keeper.continue_session(session)
    assert session.progress == 3, "what could not be sent lies here still"
