"""Prepared inputs in a storage: complete and what their manifest says, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import stored

from trainables.prepared import MANIFEST, prepare_once
from trainables.storage import StorageError
from trainables.storage.prepared_inputs import fetch_prepared, is_sent, send_prepared


def made(root: Path) -> Path:
    def make(folder: Path) -> None:
        (folder / "parts").mkdir()
        (folder / "parts" / "one.txt").write_text("one")
        (folder / "two.txt").write_text("two")

    return prepare_once(root, "data", {"size": 3}, make)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_one_machine_has_made_another_one_fetches_once(tmp_path: Path) -> None:
    sweep, folder = stored(tmp_path / "storage"), made(tmp_path / "here")
    assert not fetch_prepared(sweep, folder.name, tmp_path / "there")
    send_prepared(sweep, folder)
    assert fetch_prepared(sweep, folder.name, tmp_path / "there")
    assert files(tmp_path / "there" / folder.name) == files(folder)
    sweep.remove_below("artifacts")
    assert fetch_prepared(sweep, folder.name, tmp_path / "there"), "it is there"


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_files_that_are_not_those_of_the_manifest_are_refused_and_leave_nothing(tmp_path: Path, damage: str) -> None:
    sweep, folder = stored(tmp_path / "storage"), made(tmp_path / "here")
    send_prepared(sweep, folder)
    name = f"artifacts/{folder.name}/two.txt"
    if damage == "missing":
        sweep.remove(name)
    else:
        sweep.write(name if damage == "changed" else f"{name}.more", b"something else")
    with pytest.raises(StorageError, match="remove that folder"):
        fetch_prepared(sweep, folder.name, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_folder_whose_sending_was_cut_short_counts_as_absent(tmp_path: Path) -> None:
    sweep, folder = stored(tmp_path / "storage"), made(tmp_path / "here")
    send_prepared(sweep, folder)
    sweep.remove(f"artifacts/{folder.name}/{MANIFEST}")
    assert not is_sent(sweep, folder.name) and not fetch_prepared(sweep, folder.name, tmp_path / "there")
