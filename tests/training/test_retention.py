"""What stays of an ended run's checkpoints, and that nothing else is touched."""

from pathlib import Path
from typing import Any

import pytest

from trainables.training.retention import apply_retention

PARTIAL = ".checkpoint.pt.0123", ".best.pt.4567"


def folder_with(root: Path, *names: str) -> Path:
    folder = root / "run"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("keep", "before", "after"),
    [
        ("last", {"checkpoint.pt", "best.pt"}, {"checkpoint.pt"}),
        ("last", {"checkpoint.pt"}, {"checkpoint.pt"}),
        ("last", {"best.pt"}, set()),
        ("best", {"checkpoint.pt", "best.pt"}, {"best.pt"}),
        ("best", {"checkpoint.pt"}, {"checkpoint.pt"}),
        ("best", set(), set()),
        ("none", {"checkpoint.pt", "best.pt", "notes.txt"}, {"notes.txt"}),
    ],
)
def test_what_stays(tmp_path: Path, keep: Any, before: set[str], after: set[str]) -> None:
    folder = folder_with(tmp_path, *before, *PARTIAL)
    apply_retention(folder, keep)
    assert names(folder) == after
    apply_retention(folder, keep)
    assert names(folder) == after


@pytest.mark.parametrize("before", [{"checkpoint.pt", "best.pt"}, set(PARTIAL), set()])
def test_none_removes_the_folder_that_became_empty_and_no_other(tmp_path: Path, before: set[str]) -> None:
    folder = folder_with(tmp_path, *before)
    apply_retention(folder, "none")
    assert not folder.exists() and tmp_path.exists()
    apply_retention(folder, "none")


@pytest.mark.parametrize("keep", ["last", "best", "none"])
def test_everything_else_is_left_alone(tmp_path: Path, keep: Any) -> None:
    folder = folder_with(tmp_path, "checkpoint.pt.bak", "my.checkpoint.pt", ".checkpoint.pt", "best.pt.txt", "model.pt")
    (folder / "inner").mkdir()
    (folder / "inner" / "checkpoint.pt").write_text("another's")
    (folder / ".checkpoint.pt.folder").mkdir()
    (folder / ".checkpoint.pt.folder" / "x").write_text("x")
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    apply_retention(folder, keep)
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before


@pytest.mark.parametrize("keep", ["last", "best", "none"])
def test_a_folder_with_the_name_of_a_checkpoint_is_not_ours(tmp_path: Path, keep: Any) -> None:
    folder = folder_with(tmp_path)
    for name in ("checkpoint.pt", "best.pt"):
        (folder / name).mkdir()
        (folder / name / "x").write_text("x")
    apply_retention(folder, keep)
    assert names(folder) == {"checkpoint.pt", "best.pt"}


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "checkpoint.pt").write_text("another's")
    folder = folder_with(tmp_path)
    (folder / "checkpoint.pt").symlink_to(tmp_path / "precious")
    (folder / "best.pt").symlink_to(tmp_path / "nowhere")
    (folder / ".best.pt.1").symlink_to(tmp_path / "files")
    apply_retention(folder, "none")
    assert not folder.exists()
    (tmp_path / "link").symlink_to(tmp_path / "files")
    apply_retention(tmp_path / "link", "none")
    assert (tmp_path / "precious").read_text() == "precious" and names(tmp_path / "files") == {"checkpoint.pt"}


def test_a_link_is_no_best_checkpoint_that_the_last_one_could_go_for(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "checkpoint.pt")
    (folder / "best.pt").symlink_to(folder / "checkpoint.pt")
    apply_retention(folder, "best")
    assert (folder / "checkpoint.pt").read_text() == "checkpoint.pt"


@pytest.mark.parametrize("keep", ["last", "best", "none"])
def test_exhibits_stay_and_keep_their_folder(tmp_path: Path, keep: Any) -> None:
    folder = folder_with(tmp_path, "checkpoint.pt", "best.pt")
    (folder / "exhibits").mkdir()
    (folder / "exhibits" / "predictions.npz").write_text("data")
    apply_retention(folder, keep)
    assert (folder / "exhibits" / "predictions.npz").read_text() == "data"
    assert names(folder) == {"exhibits"} | {"last": {"checkpoint.pt"}, "best": {"best.pt"}, "none": set()}[keep]


def test_a_run_with_nothing_to_show_leaves_no_folder_behind(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "checkpoint.pt")
    (folder / "exhibits").mkdir()
    apply_retention(folder, "none")
    assert not folder.exists()


def test_a_link_named_exhibits_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = folder_with(tmp_path, "checkpoint.pt")
    (folder / "exhibits").symlink_to(tmp_path / "empty")
    apply_retention(folder, "none")
    assert (tmp_path / "empty").is_dir() and names(folder) == {"exhibits"}
