"""What a record says of files is a stranger's word: no name that leads elsewhere, and no content but the one it states."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from orchestrator.record import JournalError, checked_events
from orchestrator.record.journal import encode
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import prepare_inputs
from orchestrator.sweep.recorded_space import recorded_specification
from trainables.file_fields import FileGone

SPACE = "task: {name: forecasting, csv: a.csv, time_steps: 2}\narchitectures: {lstm: {}}\n"
HEADER = {
    "kind": "sweep",
    "name": "a",
    "identity": "0123456789ab",
    "format": 1,
    "version": "0.1.0",
    "own_tracking": False,
    "task": "forecasting",
    "space": SPACE,
}
GOOD = {"reference": "a.csv#sha256=0123456789abcdef", "path": "/data/a.csv"}
HOSTILE: list[Any] = [
    *([], "a.csv", None, 7, {"a.csv": None}, {"a.csv": []}, {"a.csv": "a.csv"}, {"a.csv": {}}),
    *({"a.csv": {"reference": GOOD["reference"]}}, {"a.csv": {"path": GOOD["path"]}}),
    *({"a.csv": {**GOOD, "path": path}} for path in (None, 7, [], "a\0b")),
    *(
        {"a.csv": {**GOOD, "reference": reference}}
        for reference in (
            *("", "a.csv", "#sha256=0123456789abcdef", "a.csv#sha256=0123", "a.csv#sha256=0123456789ABCDEF", None, 7),
            *("../a.csv#sha256=0123456789abcdef", "/etc/passwd#sha256=0123456789abcdef", "..#sha256=0123456789abcdef"),
            *("a\n.csv#sha256=0123456789abcdef", "\x1b[2J#sha256=0123456789abcdef", "a.csv#sha256=0123456789abcdef\n"),
        )
    ),
]


def events(folder: Path, files: Any) -> list[dict[str, Any]]:
    (folder / "record.jsonl").write_bytes(encode({**HEADER, "files": files}))
    return checked_events(folder / "record.jsonl")


@pytest.mark.parametrize("files", HOSTILE, ids=range(len(HOSTILE)))
def test_files_that_are_none_are_refused(files: Any, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"line 1 .*`sweep` cannot have files = "):
        events(tmp_path, files)


def test_an_edit_is_held_to_the_same(tmp_path: Path) -> None:
    edit = {"kind": "edit", "space": SPACE, "trials": None, "kept": {}}
    for files, refused in (({"a.csv": GOOD}, False), ({"a.csv": {**GOOD, "reference": "../x"}}, True)):
        (tmp_path / "record.jsonl").write_bytes(encode({**HEADER, "files": {"a.csv": GOOD}}) + encode({**edit, "files": files}))
        if not refused:
            assert checked_events(tmp_path / "record.jsonl")[1]["files"] == files
            continue
        with pytest.raises(JournalError, match=r"line 2 .*`edit` cannot have files"):
            checked_events(tmp_path / "record.jsonl")


def test_a_path_of_a_record_is_read_only_where_its_content_is_the_one_stated(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("time,value\n0,1\n1,2\n2,3\n3,4\n4,5\n")
    folder = SweepFolder(tmp_path / "s")
    folder.path.mkdir()
    told = events(folder.path, {"a.csv": {**GOOD, "path": str(secret)}})
    with pytest.raises(FileGone, match="its SHA-256 begins with"):
        prepare_inputs(recorded_specification(folder, told), folder)
    assert not list(folder.path.glob("artifacts/forecasting-*"))
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()[:16]
    known = events(folder.path, {"a.csv": {"reference": f"a.csv#sha256={digest}", "path": str(secret)}})
    assert prepare_inputs(recorded_specification(folder, known), folder)


def test_a_device_or_a_pipe_is_never_opened(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    told = events(tmp_path, {"a.csv": {**GOOD, "path": "/dev/zero"}})
    with pytest.raises(FileGone, match="no longer at"):
        prepare_inputs(recorded_specification(folder, told), folder)
