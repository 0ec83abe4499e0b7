"""Files that a search space names: where they are looked for, what stands in their place, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.document import SearchSpaceError
from orchestrator.space.reading import read_search_space, read_search_space_text
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.value import Constant
from orchestrator.sweep.proposals import configured
from trainables.files import NamedFile, shown_names, split_reference

FIRST, SECOND = "time,value\n0,1\n1,2\n", "time,value\n0,1\n1,3\n"


def reference(text: str, name: str = "series.csv") -> str:
    return f"{name}#sha256={hashlib.sha256(text.encode()).hexdigest()[:16]}"


def write(path: Path, text: str = FIRST) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def space(folder: Path, csv: str = "series.csv", more: str = "") -> Path:
    text = f"task: {{name: forecasting, csv: {csv}}}\narchitectures: {{lstm: {{}}}}\n{more}"
    return write(folder / "space.yaml", text)


def values(specification: SweepSpecification) -> list[Any]:
    found = [cell.fields["task.csv"].value for cell in specification.spaces]
    assert all(isinstance(value, Constant) for value in found)
    return [value.value for value in found if isinstance(value, Constant)]


def mistake(path: Path, *overrides: str) -> tuple[str, str]:
    with pytest.raises(SearchSpaceError) as refused:
        read_search_space(path, overrides)
    (diagnostic,) = refused.value.diagnostics
    return diagnostic.message, diagnostic.hint


def test_a_file_beside_the_space_is_known_by_its_name_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "spaces" / "series.csv")
    space(tmp_path / "spaces")
    write(tmp_path / "series.csv", SECOND)
    monkeypatch.chdir(tmp_path)
    specification = read_search_space("spaces/space.yaml")
    assert values(specification) == [reference(FIRST)]
    assert specification.files == {reference(FIRST): tmp_path / "spaces" / "series.csv"}
    assert specification.named_files.keys() == {"series.csv"}


def test_what_is_not_beside_the_space_is_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = space(tmp_path / "spaces", "null")
    write(tmp_path / "data" / "series.csv", SECOND)
    monkeypatch.chdir(tmp_path)
    specification = read_search_space(path, ["task.csv=data/series.csv"])
    assert values(specification) == [reference(SECOND)]
    assert specification.document["task"]["csv"] == "data/series.csv", "the text as written is what is recorded"


def test_a_path_below_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    there = write(tmp_path / "home" / "series.csv")
    assert read_search_space(space(tmp_path, "~/series.csv")).files == {reference(FIRST, "series.csv"): there}


def test_where_a_file_lies_does_not_change_what_is_known_of_a_run(tmp_path: Path) -> None:
    prints = []
    for folder, name in (("a", "series.csv"), ("b", "series.csv"), ("c", "other.csv")):
        write(tmp_path / folder / name)
        (cell,) = read_search_space(space(tmp_path / folder, name)).spaces
        prints.append(configured(cell, {}).fingerprint())
    write(tmp_path / "a" / "series.csv", SECOND)
    (cell,) = read_search_space(tmp_path / "a" / "space.yaml").spaces
    assert len(set(prints)) == 1 and configured(cell, {}).fingerprint() not in prints


def test_a_content_may_be_demanded(tmp_path: Path) -> None:
    write(tmp_path / "data" / "series.csv")
    assert values(read_search_space(space(tmp_path, f'"data/{reference(FIRST)}"'))) == [reference(FIRST)]
    message, hint = mistake(space(tmp_path, f'"data/{reference(SECOND)}"'))
    there, meant = (reference(text).rpartition("=")[2] for text in (FIRST, SECOND))
    assert message == f"`data/series.csv` is not the file that is meant: its SHA-256 begins with {there}, not with {meant}"
    assert "leave out" in hint


def test_a_missing_file_is_told_with_where_it_was_looked_for_and_what_is_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "series.csv")
    path = space(tmp_path, "data/serie.csv")
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(SearchSpaceError) as refused:
        read_search_space(path)
    (diagnostic,) = refused.value.diagnostics
    assert (diagnostic.line, diagnostic.column, diagnostic.path) == (1, 32, "task.csv")
    assert diagnostic.message == f"there is no file `data/serie.csv`: looked in `{tmp_path / 'data'}` and in `data`"
    assert diagnostic.hint == "did you mean `data/series.csv`?"


NO_FILES: list[tuple[str, str, Callable[[Path], object]]] = [
    (".", "it is a folder", lambda folder: None),
    ('""', "it is a folder", lambda folder: None),
    ("pipe", "it is not a regular file", lambda folder: os.mkfifo(folder / "pipe")),
    ("/dev/zero", "it is not a regular file", lambda folder: None),
    ('"a\\0b"', "null", lambda folder: None),
    ('"a\\nb"', "its name has control characters", lambda folder: write(folder / "a\nb")),
    ("x" * 300, "too long", lambda folder: None),
    ("loop", "symbolic links", lambda folder: (folder / "loop").symlink_to("loop")),
]


@pytest.mark.parametrize(("written", "why", "make"), NO_FILES, ids=[why for _, why, _ in NO_FILES])
def test_what_is_no_readable_file_is_refused(written: str, why: str, make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path)
    message, _ = mistake(space(tmp_path, written))
    assert message.startswith("cannot read") and why in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "series.csv").chmod(0)
    assert "cannot read `series.csv`" in mistake(space(tmp_path))[0]


def test_one_content_under_two_names_is_there_twice(tmp_path: Path) -> None:
    write(tmp_path / "a.csv"), write(tmp_path / "b.csv")
    assert mistake(space(tmp_path, "{choice: [a.csv, b.csv]}"))[0].startswith("`b.csv` holds the same as `a.csv`")
    write(tmp_path / "b.csv", SECOND)
    (cell,) = read_search_space(space(tmp_path, "{choice: [a.csv, b.csv, null]}")).spaces
    assert cell.searched["task.csv"].dimension.column([0, 1, 2]).tolist() == [  # type: ignore[arg-type]
        reference(FIRST, "a.csv"),
        reference(SECOND, "b.csv"),
        None,
    ]


def test_a_computed_name_is_refused(tmp_path: Path) -> None:
    message, hint = mistake(space(tmp_path, "\"${'series.csv'}\""))
    assert "cannot be computed" in message and "{choice: [a.csv, b.csv]}" in hint


def test_cells_of_a_grid_are_named_after_files_and_by_content_where_names_are_alike(tmp_path: Path) -> None:
    write(tmp_path / "a.csv"), write(tmp_path / "b.csv", SECOND), write(tmp_path / "x" / "a.csv", SECOND)
    names = [cell.name for cell in read_search_space(space(tmp_path, "{grid: [a.csv, b.csv]}")).spaces]
    assert names == ["lstm.csv-a.csv", "lstm.csv-b.csv"]
    names = [cell.name for cell in read_search_space(space(tmp_path, "{grid: [a.csv, x/a.csv]}")).spaces]
    digests = [split_reference(reference(text, "a.csv"))[1] or "" for text in (FIRST, SECOND)]
    assert names == [f"lstm.csv-a.csv-{digest[:6]}" for digest in digests]


def test_names_are_shown_without_digests_unless_two_contents_share_one() -> None:
    one, other, third = reference(FIRST), reference(SECOND), reference(SECOND, "x.csv")
    assert shown_names([one, third, one]) == {one: "series.csv", third: "x.csv"}
    digests = [split_reference(text)[1] or "" for text in (one, other)]
    alike = {text: f"series.csv@{digest[:6]}" for text, digest in zip((one, other), digests, strict=True)}
    assert shown_names([one, other, third]) == {**alike, third: "x.csv"}


def test_a_recorded_text_needs_no_file(tmp_path: Path) -> None:
    text = space(tmp_path).read_text()
    recorded = {"series.csv": NamedFile(reference(FIRST), tmp_path / "gone.csv")}
    specification = read_search_space_text(text, str(tmp_path / "space.yaml"), (), recorded)
    assert values(specification) == [reference(FIRST)] and specification.files == {reference(FIRST): tmp_path / "gone.csv"}
    write(tmp_path / "series.csv", SECOND)
    with pytest.raises(SearchSpaceError, match=r"the record does not say which file `series.csv` was"):
        read_search_space_text(text, str(tmp_path / "space.yaml"), (), {})


def test_a_known_file_serves_where_none_is_found(tmp_path: Path) -> None:
    path, known = space(tmp_path), {"series.csv": NamedFile(reference(FIRST), tmp_path / "old" / "series.csv")}
    assert values(read_search_space(path, (), known)) == [reference(FIRST)]
    write(tmp_path / "series.csv", SECOND)
    assert values(read_search_space(path, (), known)) == [reference(SECOND)], "what is there has the first word"


def test_a_renamed_folder_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a" / "series.csv")
    before = read_search_space(space(tmp_path / "a"))
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert values(read_search_space(tmp_path / "b" / "space.yaml")) == values(before)
