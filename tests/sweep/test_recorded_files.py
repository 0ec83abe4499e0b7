"""Files of a sweep: what the record says of them, when their data are made, and what is told when they are gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.launch import LaunchOptions, SweepObserver, resumption
from orchestrator.launch.new_sweep import _header
from orchestrator.record import Journal, checked_events
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.inputs import prepare_inputs, require_files
from orchestrator.sweep.recorded_space import paths_of_all_editions, recorded_specification
from trainables.file_fields import FileGone, with_paths
from trainables.prepared import MANIFEST, is_prepared
from trainables.tasks.forecasting import ForecastingConfiguration, ForecastingTask

SPACE = "task: {name: forecasting, csv: series.csv, time_steps: {choice: [2, 4]}}\narchitectures: {lstm: {}}\n"


def series(values: int = 30) -> str:
    return "".join(["time,value\n", *(f"{hour},{hour % 7}\n" for hour in range(values))])


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "series.csv").write_text(series())
    path = tmp_path / "spaces" / "space.yaml"
    path.write_text(SPACE)
    return path


def sweep_folder(tmp_path: Path, name: str = "s") -> SweepFolder:
    folder = SweepFolder(tmp_path / "sweeps" / name)
    folder.path.mkdir(parents=True)
    return folder


def recorded(specification: SweepSpecification, folder: SweepFolder) -> list[dict[str, Any]]:
    with Journal(folder.record) as journal:
        journal.append({**_header(specification, LaunchOptions(folder.path.parent, folder.name)), "time": 0.0})
    return checked_events(folder.record)


def test_a_record_tells_its_files_and_is_read_without_them(space: Path, tmp_path: Path) -> None:
    specification, folder = read_search_space(space), sweep_folder(tmp_path)
    events = recorded(specification, folder)
    csv = space.parent / "series.csv"
    assert events[0]["files"] == {"series.csv": {"reference": next(iter(specification.files)), "path": str(csv)}}
    csv.unlink()
    again = recorded_specification(folder, events)
    assert again.named_files == specification.named_files
    assert again.spaces[0].fields["task.csv"].value == specification.spaces[0].fields["task.csv"].value
    assert paths_of_all_editions(events) == specification.files


def test_a_record_of_a_space_without_files_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("task: {name: mqar}\narchitectures: {gpt: {}}\n")
    specification, folder = read_search_space(path), sweep_folder(tmp_path)
    events = recorded(specification, folder)
    assert "files" not in events[0] and recorded_specification(folder, events).files == {}


def test_data_are_made_once_for_all_that_share_them_and_are_found_without_the_file(space: Path, tmp_path: Path) -> None:
    specification, folder = read_search_space(space), sweep_folder(tmp_path)
    (prepared,) = prepare_inputs(specification, folder)
    for time_steps in (2, 4):
        task = ForecastingConfiguration(csv=next(iter(specification.files)), time_steps=time_steps)
        assert is_prepared(folder.artifacts, ForecastingTask, task)
    (space.parent / "series.csv").unlink()
    require_files(specification, folder)
    assert prepare_inputs(specification, folder) == [prepared]
    other = sweep_folder(tmp_path, "other")
    require_files(specification, other)
    (linked,) = prepare_inputs(specification, other)
    assert linked.parent == other.artifacts and (linked / MANIFEST).is_file()


def test_a_file_that_is_needed_and_gone_is_named_with_the_cure(space: Path, tmp_path: Path) -> None:
    specification, folder = read_search_space(space), sweep_folder(tmp_path)
    (prepared,) = prepare_inputs(specification, folder)
    shutil.rmtree(prepared)
    csv = space.parent / "series.csv"
    csv.write_text(series(31))
    with pytest.raises(FileGone, match=r"series\.csv has changed since the search space was read: its SHA-256 begins with"):
        require_files(specification, folder)
    csv.unlink()
    for needed in (require_files, prepare_inputs):
        with pytest.raises(FileGone, match=r"`series\.csv` is no longer at .*/spaces/series\.csv.*put the file back.*--space"):
            needed(specification, folder)
    assert not [path for path in folder.artifacts.iterdir() if (path / MANIFEST).exists()], "nothing half made is left"


def test_a_worker_that_lacks_data_says_who_makes_them() -> None:
    task = ForecastingConfiguration(csv="series.csv#sha256=0123456789abcdef")
    with pytest.raises(FileGone, match=r"the data made from `series\.csv` .*the driver that makes them.*memsweep resume"):
        with_paths(task, {})


def test_a_path_alone_is_taken_as_it_is() -> None:
    for csv in (None, "data/series.csv"):
        task = ForecastingConfiguration(csv=csv)
        assert with_paths(task, {}) is task


class Continued(Exception):
    """In place of Ray: how the sweep would have gone on."""


def going_on(
    folder: SweepFolder, edited: Path | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[SweepSpecification, dict[str, Any]]:
    """The specification and the event with which ``resume`` would go on, up to where Ray begins."""
    seen: list[Any] = []
    continuation = resumption._continuation
    monkeypatch.setattr(resumption, "_continuation", lambda *arguments: seen.append(continuation(*arguments)) or seen[-1])

    class Observer(SweepObserver):
        def preparing(self) -> None:
            raise Continued

    with pytest.raises(Continued):
        resumption.resume(folder, None, LaunchOptions(folder.path.parent, folder.name), Observer(), edited)
    return seen[0].specification, seen[0].event


def begun(space: Path, tmp_path: Path) -> SweepFolder:
    specification, folder = read_search_space(space), sweep_folder(tmp_path)
    recorded(specification, folder)
    prepare_inputs(specification, folder)
    return folder


def test_a_sweep_goes_on_without_its_file(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(space, tmp_path)
    (space.parent / "series.csv").unlink()
    assert going_on(folder, None, monkeypatch)[1]["kind"] == "resume"
    shutil.rmtree(folder.artifacts)
    with pytest.raises(FileGone, match="put the file back"):
        resumption.resume(folder, None, LaunchOptions(folder.path.parent, folder.name), SweepObserver())


def test_an_edited_space_finds_its_files_or_takes_those_of_the_record(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, csv = begun(space, tmp_path), space.parent / "series.csv"
    edited = tmp_path / "edited.yaml"
    edited.write_text(SPACE.replace("lstm: {}", "lstm: {hidden_size: 8}"))
    specification, event = going_on(folder, edited, monkeypatch)
    assert event["kind"] == "edit" and event["files"]["series.csv"]["path"] == str(csv)
    csv.unlink()
    assert going_on(folder, edited, monkeypatch)[0].files == specification.files, "its data are there"
    (tmp_path / "series.csv").write_text(series(40))
    moved, event = going_on(folder, edited, monkeypatch)
    assert list(moved.files.values()) == [tmp_path / "series.csv"] and moved.files.keys() != specification.files.keys()
    assert event["files"]["series.csv"]["path"] == str(tmp_path / "series.csv")


def test_the_same_space_beside_a_moved_file_is_no_edit(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(space, tmp_path)
    shutil.rmtree(folder.artifacts)
    shutil.move(space.parent, tmp_path / "moved")
    specification, event = going_on(folder, tmp_path / "moved" / "space.yaml", monkeypatch)
    assert event["kind"] == "resume" and list(specification.files.values()) == [tmp_path / "moved" / "series.csv"]


def test_the_same_space_beside_a_renamed_file_is_no_edit(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(space, tmp_path)
    shutil.rmtree(folder.artifacts)
    (space.parent / "series.csv").rename(space.parent / "renamed.csv")
    space.write_text(space.read_text().replace("series.csv", "renamed.csv"))
    specification, event = going_on(folder, space, monkeypatch)
    assert event["kind"] == "resume" and list(specification.files.values()) == [space.parent / "renamed.csv"]
    assert len(prepare_inputs(specification, folder)) == 1
