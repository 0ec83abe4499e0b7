"""Folders that a search space names, and names that are no paths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.space.reading.files import FileFinder, FileMistake
from trainables import files
from trainables.configuration import Configuration, hyperparameter
from trainables.file_fields import FileGone, named_references, with_paths
from trainables.files import NoFiles, files_beneath, reference_to


@dataclass(frozen=True, kw_only=True)
class Corpus(Configuration):
    corpus: str = hyperparameter("facts", "the text", file=True, folder=True, names=("facts", "stdlib"))
    csv: str | None = hyperparameter(None, "a table", file=True)


FIELDS = Corpus.hyperparameters()


def tree(folder: Path) -> Path:
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "sub" / "b.txt").write_text("two")
    (folder / "sub" / "deeper" / "c.txt").write_text("three")
    return folder


def found(folder: Path, written: str) -> str:
    return FileFinder([folder]).find(written, FIELDS["corpus"]).reference


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    one = found(tmp_path, str(tree(tmp_path / "one")))
    assert one.startswith("one#sha256=")
    tree(tmp_path / "two")
    assert found(tmp_path, "two/").rpartition("=")[2] == one.rpartition("=")[2], "whatever it is called, and wherever it lies"


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file has another content": lambda folder: (folder / "sub" / "b.txt").write_text("owt"),
    "a file has another name": lambda folder: (folder / "a.txt").rename(folder / "z.txt"),
    "a file lies elsewhere": lambda folder: (folder / "a.txt").rename(folder / "sub" / "a.txt"),
    "a file is added": lambda folder: (folder / "d.txt").write_text(""),
    "a file is gone": lambda folder: (folder / "a.txt").unlink(),
    "the end of one is the beginning of the next": lambda folder: (
        (folder / "sub" / "b.txt").write_text("tw") + (folder / "sub" / "deeper" / "c.txt").write_text("othree")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_content_is_another_reference(change: str, tmp_path: Path) -> None:
    before = reference_to(tree(tmp_path / "corpus"))
    CHANGES[change](tmp_path / "corpus")
    assert reference_to(tmp_path / "corpus") != before


def test_what_begins_with_a_dot_does_not_count(tmp_path: Path) -> None:
    before = reference_to(tree(tmp_path / "corpus"))
    tree(tmp_path / "corpus" / ".git")
    (tmp_path / "corpus" / "sub" / ".cache").write_text("x")
    (tmp_path / "corpus" / "empty").mkdir()
    os.mkfifo(tmp_path / "corpus" / "pipe")
    (tmp_path / "corpus" / "nowhere").symlink_to("gone")
    assert reference_to(tmp_path / "corpus") == before


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "file.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "sub" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "sub" / "back").symlink_to(folder)
    assert list(files_beneath(folder)) == ["file.txt", "linked/a.txt", "linked/sub/b.txt", "linked/sub/deeper/c.txt"]
    before = reference_to(folder)
    (tmp_path / "elsewhere" / "a.txt").write_text("another")
    assert reference_to(folder) != before


def test_a_folder_that_has_not_changed_for_a_while_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = tree(tmp_path / "corpus").stat().st_ctime_ns
    reference = reference_to(tmp_path / "corpus")
    monkeypatch.setattr(files.time, "time_ns", lambda: now + 3_600_000_000_000)
    assert reference_to(tmp_path / "corpus") == reference
    opened: list[Path] = []
    read = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *modes, **more: opened.append(self) or read(self, *modes, **more))
    assert reference_to(tmp_path / "corpus") == reference and not opened
    (tmp_path / "corpus" / "a.txt").write_text("other")
    opened.clear()
    assert reference_to(tmp_path / "corpus") != reference and len(opened) == 3


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    (tmp_path / "empty" / ".hidden").write_text("x")
    with pytest.raises(NoFiles):
        reference_to(tmp_path / "empty")
    with pytest.raises(FileMistake, match="the folder `empty` holds no files"):
        found(tmp_path, "empty")


REFUSED = [
    ("corpus", "gone", "there is no file or folder `gone`", "known besides: facts, stdlib"),
    ("corpus", "stdlb", "there is no file or folder `stdlb`", "did you mean `stdlib`?"),
    ("corpus", "corpsu", "there is no file or folder `corpsu`", "did you mean `corpus`?"),
    ("corpus", "", "an empty text names nothing", "name a file or a folder"),
    ("corpus", "/", "this folder has no name", "name a file or a folder"),
    ("corpus", "pipe", "it is not a regular file", "name a file or a folder"),
    ("csv", "corpus", "it is a folder", "name a file"),
    ("csv", "tabl.csv", "there is no file `tabl.csv`", "did you mean `table.csv`?"),
    ("csv", "facts", "there is no file `facts`", "a path is relative to"),
]


@pytest.mark.parametrize(("field", "written", "message", "hint"), REFUSED)
def test_what_names_nothing_is_refused(field: str, written: str, message: str, hint: str, tmp_path: Path) -> None:
    tree(tmp_path / "corpus")
    (tmp_path / "table.csv").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileMistake) as refused:
        FileFinder([tmp_path]).find(written, FIELDS[field])
    assert message in refused.value.message and hint in refused.value.hint


def test_a_text_that_serves_a_folder_does_not_serve_a_file(tmp_path: Path) -> None:
    tree(tmp_path / "corpus")
    finder = FileFinder([tmp_path])
    finder.find("corpus", FIELDS["corpus"])
    with pytest.raises(FileMistake, match="it is a folder"):
        finder.find("corpus", FIELDS["csv"])


def test_a_pinned_folder_must_have_its_content(tmp_path: Path) -> None:
    reference = reference_to(tree(tmp_path / "corpus"))
    assert found(tmp_path, reference) == reference
    (tmp_path / "corpus" / "a.txt").write_text("another")
    with pytest.raises(FileMistake, match="is not the file that is meant"):
        found(tmp_path, reference)


def test_a_name_is_itself_whatever_file_is_called_like_it() -> None:
    configuration = Corpus(corpus="stdlib")
    assert named_references(configuration) == {} and with_paths(configuration, {}) is configuration
    assert configuration.identity_values()["corpus"] == "stdlib"


def test_a_folder_that_changed_or_went_is_gone(tmp_path: Path) -> None:
    folder = tree(tmp_path / "corpus")
    reference = reference_to(folder)
    configuration = Corpus(corpus=reference)
    assert with_paths(configuration, {reference: folder}).corpus == str(folder)
    (folder / "a.txt").write_text("another")
    with pytest.raises(FileGone, match="has changed since the search space was read"):
        with_paths(configuration, {reference: folder})
    for path in sorted(folder.rglob("*.txt")):
        path.unlink()
    with pytest.raises(FileGone, match="`corpus` is no longer at"):
        with_paths(configuration, {reference: folder})
    shutil.rmtree(folder)
    with pytest.raises(FileGone, match="`corpus` is no longer at"):
        with_paths(configuration, {reference: folder})
