"""Inputs made once: complete or absent, by any number of makers."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from trainables.prepared import MANIFEST, data_digest, prepare_once, remove_unfinished


def slow_maker(folder: Path) -> None:
    for part in range(5):
        (folder / f"{part}.txt").write_text(f"part {part}")
        time.sleep(0.01)


def make_and_read(root: str) -> list[str]:
    folder = prepare_once(Path(root), "data", {"seed": 1}, slow_maker)
    return sorted(path.read_text() for path in folder.glob("*.txt"))


def test_concurrent_makers_all_get_the_complete_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(6) as pool:
        read = pool.map(make_and_read, [str(tmp_path)] * 24, chunksize=1)
    assert read == [[f"part {part}" for part in range(5)]] * 24
    assert len(list(tmp_path.iterdir())) == 1


def test_a_second_call_makes_nothing_and_the_manifest_tells_the_values(tmp_path: Path) -> None:
    made: list[Path] = []
    values = {"b": 0.1, "a": [1, 2]}
    first = prepare_once(tmp_path, "data", values, made.append)
    second = prepare_once(tmp_path, "data", {"a": [1, 2], "b": 0.1}, made.append)
    assert first == second and len(made) == 1
    assert json.loads((first / MANIFEST).read_text()) == {"name": "data", "values": values, "content": ""}


def test_other_values_have_a_folder_of_their_own(tmp_path: Path) -> None:
    folders = {prepare_once(tmp_path, "data", {"x": x}, slow_maker) for x in (1, 1.5, "1")}
    assert len(folders) == 3


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        prepare_once(tmp_path, "data", {}, fail)
    assert list(tmp_path.iterdir()) == []
    assert (prepare_once(tmp_path, "data", {}, slow_maker) / "4.txt").is_file()


def test_a_maker_that_was_killed_is_not_mistaken_for_a_finished_one(tmp_path: Path) -> None:
    finished = prepare_once(tmp_path, "data", {}, slow_maker)
    (finished / MANIFEST).unlink()
    with pytest.raises(RuntimeError, match="incomplete"):
        prepare_once(tmp_path, "data", {}, slow_maker)


def test_what_is_made_elsewhere_is_linked_and_not_made_again(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "data.bin").write_bytes(b"data")

    def never(folder: Path) -> None:
        raise AssertionError("made twice")

    first = prepare_once(tmp_path / "one", "data", {"seed": 0}, make)
    second = prepare_once(tmp_path / "two", "data", {"seed": 0}, never, elsewhere=[tmp_path / "none", tmp_path / "one"])
    assert (second / "inner" / "data.bin").samefile(first / "inner" / "data.bin")
    assert (second / MANIFEST).read_text() == (first / MANIFEST).read_text()
    assert not (second / MANIFEST).samefile(first / MANIFEST)
    with pytest.raises(AssertionError, match="made twice"):
        prepare_once(tmp_path / "two", "data", {"seed": 1}, never, elsewhere=[tmp_path / "one"])


def test_the_digest_is_of_names_and_contents_and_linked_folders_have_it_too(tmp_path: Path) -> None:
    def digest(root: str, files: dict[str, str], **more: Any) -> str:
        def make(folder: Path) -> None:
            for name, content in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(content)

        return data_digest(prepare_once(tmp_path / root, "data", {}, make, **more))

    same = digest("a", {"x": "1", "inner/y": "2"})
    assert len(same) == 16 and int(same, 16) >= 0
    assert same == digest("b", {"inner/y": "2", "x": "1"}) == digest("c", {}, elsewhere=[tmp_path / "a"])
    others = [{"x": "12", "inner/y": ""}, {"x": "1", "inner/z": "2"}, {"x": "1"}, {"x": "1", "y": "2"}, {}]
    assert len({same, *(digest(f"other-{index}", files) for index, files in enumerate(others))}) == 1 + len(others)
    assert digest("nothing", {}) == ""


@pytest.mark.parametrize("manifest", ['{"name": "data"}', "torn {", "[]", '{"content": 7}', '{"content": "../../x"}'])
def test_a_manifest_without_a_digest_is_made_up_for(tmp_path: Path, manifest: str) -> None:
    folder = prepare_once(tmp_path, "data", {}, slow_maker)
    digest = data_digest(folder)
    (folder / MANIFEST).write_text(manifest)
    assert data_digest(folder) == digest != ""
    assert (
        json.loads((prepare_once(tmp_path / "two", "data", {}, slow_maker, [tmp_path]) / MANIFEST).read_text())["content"]
        == digest
    )


def test_what_a_killed_maker_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    def killed(staging: Path) -> None:
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".data-")] == [staging]
        (staging / "half").write_text("half")
        remove_unfinished(tmp_path)
        assert not staging.exists()
        raise KeyboardInterrupt

    kept = [prepare_once(tmp_path, "done", {}, slow_maker), tmp_path / ".hidden-folder", tmp_path / "unfinished-base"]
    for folder in kept[1:]:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        prepare_once(tmp_path, "data", {}, killed)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
