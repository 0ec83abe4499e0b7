"""What a command names by its arguments and in its search spaces."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import fill

from orchestrator.document import SearchSpaceError
from orchestrator.shipping import ShippingError, named_files

SPACE = """
name: x
task: {name: forecasting, csv: {grid: [series/a.csv, "b.csv#sha256=0123456789abcdef", /data/c.csv, gone.csv]}}
model: {backbone: ../models/tiny, base: {csv: top.csv}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = ["spaces/series/a.csv", "spaces/b.csv", "models/tiny/config.json", "top.csv", "unnamed.csv", "task"]
    return fill(tmp_path / "root", {"spaces/x.yaml": SPACE, **dict.fromkeys(files, "")})


def test_a_space_and_the_files_that_it_names_are_found_beside_it_and_in_the_folder(root: Path) -> None:
    expected = ["spaces/x.yaml", "spaces/series/a.csv", "spaces/b.csv", "models/tiny", "top.csv"]
    assert named_files(["run", "spaces/x.yaml", "--yes"], root) == expected


def test_values_of_options_count_and_commands_do_not(root: Path) -> None:
    fill(root, {"run": ""})
    assert named_files(["run", "--set", "task.csv=top.csv"], root) == ["top.csv"]
    assert named_files(["resume", "name", "--space=spaces/x.yaml"], root)[0] == "spaces/x.yaml"


def test_texts_that_are_no_paths_are_left_alone(root: Path) -> None:
    assert named_files(["run", "", ".", "..", "/etc/passwd", "~", "-", "a\0b", "x" * 5000, "s3://b/c"], root) == []


def test_what_lies_outside_is_refused_with_the_place(root: Path) -> None:
    fill(root.parent, {"y.yaml": "name: y"})
    with pytest.raises(ShippingError, match=r"\.\./y\.yaml lies outside of .*root"):
        named_files(["run", "../y.yaml"], root)


def test_a_space_that_cannot_be_read_is_refused_here(root: Path) -> None:
    (root / "spaces/x.yaml").write_text("a: [")
    with pytest.raises(SearchSpaceError, match=r"x\.yaml"):
        named_files(["run", "spaces/x.yaml"], root)
