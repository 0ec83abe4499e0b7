"""Mappings that describe another model: what stands in their place, which are the same, and what is refused where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nested_model import AroundConfiguration, around

from orchestrator.document import Diagnostic, SearchSpaceError
from orchestrator.space.assignment import Assignment
from orchestrator.space.description import describe_setting
from orchestrator.space.difference import describe_difference
from orchestrator.space.membership import Outside, find_home
from orchestrator.space.reading import read_search_space, read_search_space_text
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.value import Constant
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.naming import run_name, shortened
from orchestrator.sweep.proposals import configured
from orchestrator.sweep.recorded_space import files_as_recorded, recorded_files, recorded_specification
from trainables import registry
from trainables.configuration import ConfigurationError
from trainables.file_fields import FileGone, named_references, with_paths
from trainables.files import NamedFile, reference_to
from trainables.training.request import RunRequest


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.architectures(), "around", around())


def backbone(folder: Path, dim: int = 32) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"dim": dim}))
    return folder


def space(folder: Path, base: str, more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "space.yaml"
    path.write_text(f"task: mqar\narchitectures:\n  around: {{base: {base}}}\n{more}")
    return path


def base_of(specification: SweepSpecification) -> Any:
    (cell,) = specification.spaces
    value = cell.fields["base"].value
    assert isinstance(value, Constant)
    return value.value


def fingerprint(path: Path) -> str:
    (cell,) = read_search_space(path).spaces
    return configured(cell, {}).fingerprint()


def values_of(request: RunRequest) -> dict[str, Any]:
    resolved = request.resolved()
    return {"model": resolved.model.to_values(), "task": resolved.task.to_values(), "training": resolved.training.to_values()}


def mistakes(path: Path) -> list[Diagnostic]:
    with pytest.raises(SearchSpaceError) as refused:
        read_search_space(path)
    return refused.value.diagnostics


def test_a_mapping_is_read_with_quantities_and_final_types(tmp_path: Path) -> None:
    read = base_of(read_search_space(space(tmp_path, "{dim: 4k, training: {lr: 1, epochs: 3.0}}")))
    assert read == {"dim": 4000, "training": {"lr": 1.0, "epochs": 3}}
    assert isinstance(read["training"]["lr"], float) and isinstance(read["training"]["epochs"], int)


def test_the_order_of_keys_and_written_defaults_change_nothing(tmp_path: Path) -> None:
    same = (
        "{dim: 16, pos: rope}",
        "{pos: rope, dim: 16}",
        "{dim: 16}",
        "{training: {epochs: 2}, dim: 16}",
        "{dim: 16, training: }",
    )
    prints = {fingerprint(space(tmp_path, base)) for base in same}
    assert len(prints) == 1
    assert not prints & {fingerprint(space(tmp_path, base)) for base in ("{dim: 17}", "{dim: 16, training: {epochs: 3}}")}


def test_an_override_reaches_into_a_mapping(tmp_path: Path) -> None:
    path = space(tmp_path, "{dim: 16}")
    assert base_of(read_search_space(path, ["architectures.around.base.training.lr=2e-3"])) == {
        "dim": 16,
        "training": {"lr": 2e-3},
    }


MISTAKES = [
    ("{dmi: 16}", 3, 19, "base.dmi", "unknown field of `base` `dmi`", "did you mean `dim`?"),
    ("{training: {lr: 0}}", 3, 34, "base.training.lr", "`base.training.lr` must be greater than 0, got 0", "learning rate"),
    ("{training: {epoch: 1}}", 3, 30, "base.training.epoch", "unknown field of `base` `epoch`", "did you mean `epochs`?"),
    ("{epochs: 4}", 3, 19, "base.epochs", "unknown field of `base` `epochs`", "did you mean `training.epochs`?"),
    ("{training: 4}", 3, 29, "base.training", "`base.training` must be a mapping, found integer", "write"),
    ("{dim: wide}", 3, 24, "base.dim", "`base.dim` expected a whole number, got 'wide'", "width"),
    ("{pos: roqe}", 3, 24, "base.pos", "`base.pos` expected one of rope, none", "did you mean `rope`?"),
    ("{family: plian}", 3, 27, "base.family", "`base.family` must be plain", "did you mean `plain`?"),
    ("{dim: {int: [4, 8]}}", 3, 24, "base.dim", "made once for all trials", "{choice: [{…}, {…}]}"),
    ("{training: {choice: [{lr: 1}]}}", 3, 30, "base.training.choice", "made once for all trials", "{choice: [{…}, {…}]}"),
    ("{int: [4, 8]}", 3, 19, "base.int", "made once for all trials", "{choice: [{…}, {…}]}"),
    ('{dim: "${k}"}', 3, 24, "base.dim", "made once for all trials", "{choice: [{…}, {…}]}"),
    ('"${k}"', 3, 18, "base", "made once for all trials", "{choice: [{…}, {…}]}"),
    ("7", 3, 18, "base", "`base`: expected a mapping, got 7", "the base model"),
    ("{backbone: tniy}", 3, 29, "base.backbone", "there is no file or folder `tniy`", "did you mean `tiny`?"),
    ("{backbone: empty}", 3, 29, "base.backbone", "the folder `empty` holds no files", "begin with `.`"),
    ("{backbone: text}", 3, 29, "base.backbone", "cannot read `text`: No such file", "right"),
    ("{backbone: torn}", 3, 29, "base.backbone", "config.json is no JSON", ""),
    ("{choice: [{dim: 8}, {pos: rope}]}", 3, 38, "base.choice[1]", "the same `base` as line 3, column 28", "remove one"),
    ("{choice: [{dim: 0}]}", 3, 34, "base.choice[0].dim", "`base.dim` must be at least 1", "width"),
]


@pytest.mark.parametrize(("base", "line", "column", "path", "message", "hint"), MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_mistake_inside_is_told_at_its_place(
    base: str, line: int, column: int, path: str, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    backbone(tmp_path / "text").joinpath("config.json").rename(tmp_path / "text" / "other.json")
    backbone(tmp_path / "torn").joinpath("config.json").write_text("{")
    (found,) = mistakes(space(tmp_path, base))
    assert (found.line, found.column, found.path) == (line, column, f"architectures.around.{path}")
    assert message in found.message and hint in found.hint


def test_what_the_model_itself_refuses_is_told_at_each_place(tmp_path: Path) -> None:
    found = mistakes(space(tmp_path, "{dim: 13, training: {epochs: 1}}"))
    assert [(each.column, each.message) for each in found] == [
        (18, "bad luck"),
        (24, "`base.dim` must not be 13"),
        (38, "`base.training.lr` goes badly with 13"),
    ]


def test_mistakes_in_a_shared_mapping_are_told_once_for_all_entries(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("task: mqar\nmodel: {base: {dim: 0}}\narchitectures: {around: {}, other: {architecture: around}}\n")
    assert [each.path for each in mistakes(path)] == ["model.base.dim"]


def test_whole_models_are_searched(tmp_path: Path) -> None:
    (cell,) = read_search_space(space(tmp_path, "{choice: [{dim: 8}, {dim: 16}]}")).spaces
    drawn = cell.searched["base"].dimension.column([0, 1]).tolist()  # type: ignore[arg-type]
    assert drawn == [{"dim": 8}, {"dim": 16}] and cell.resolve({"base": drawn[1]}).model["base"] == {"dim": 16}


def test_cells_of_a_grid_are_named_after_what_their_models_differ_in(tmp_path: Path) -> None:
    grid = "{grid: [{dim: 8, training: {lr: 1}}, {dim: 8, training: {lr: 2}}, {dim: 16, pos: none, training: {lr: 2}}]}"
    names = [cell.name for cell in read_search_space(space(tmp_path, grid)).spaces]
    assert names == ["around.base-dim-8.lr-1.0", "around.base-dim-8.lr-2.0", "around.base-dim-16.lr-2.0"]


def test_a_folder_inside_is_known_by_its_content_and_described(tmp_path: Path) -> None:
    there = backbone(tmp_path / "gpt2")
    specification = read_search_space(space(tmp_path, "{backbone: gpt2}"))
    assert base_of(specification) == {"backbone": reference_to(there), "config": {"dim": 32}}
    assert specification.files == {reference_to(there): there}
    (cell,) = specification.spaces
    assert cell.counts(Assignment(cell.fields, {})).block == 32 * 4


def test_a_name_is_no_path(tmp_path: Path) -> None:
    backbone(tmp_path / "tiny")
    specification = read_search_space(space(tmp_path, "{backbone: tiny}"))
    assert base_of(specification) == {"backbone": "tiny"} and not specification.files
    assert base_of(read_search_space(space(tmp_path, "{backbone: ./tiny}")))["config"] == {"dim": 32}


def test_a_renamed_folder_is_the_same_model_and_a_changed_one_another(tmp_path: Path) -> None:
    backbone(tmp_path / "one"), backbone(tmp_path / "two"), backbone(tmp_path / "three", 33)
    prints = [fingerprint(space(tmp_path, f"{{backbone: {name}}}")) for name in ("one", "two", "three")]
    assert prints[0] == prints[1] != prints[2]


def test_what_is_read_from_a_file_is_not_written(tmp_path: Path) -> None:
    backbone(tmp_path / "gpt2")
    (found,) = mistakes(space(tmp_path, "{backbone: gpt2, config: {dim: 1}}"))
    assert found.message == "unknown field of `base` `config`" and found.column == 35


def test_references_and_paths_reach_into_a_mapping(tmp_path: Path) -> None:
    there = backbone(tmp_path / "gpt2")
    reference = reference_to(there)
    model = AroundConfiguration.from_values({"base": {"backbone": reference, "training": {"lr": 1.0}}})
    assert named_references(model) == {"base.backbone": reference}
    found = with_paths(model, {reference: there})
    assert found.base == {"backbone": str(there), "training": {"lr": 1.0}} and model.base["backbone"] == reference
    assert model.identity_values()["base"]["backbone"] == "#sha256=" + reference.rpartition("=")[2]
    (there / "config.json").write_text(json.dumps({"dim": 33}))
    with pytest.raises(FileGone, match="has changed since the search space was read"):
        with_paths(model, {reference: there})
    shutil.rmtree(there)
    with pytest.raises(FileGone, match="`gpt2` is no longer at"):
        with_paths(model, {reference: there})


def test_a_configuration_says_which_inner_field_is_wrong() -> None:
    with pytest.raises(ConfigurationError) as refused:
        AroundConfiguration.from_values({"base": {"dim": 13}})
    assert refused.value.problems[:2] == [("base.dim", "must not be 13"), ("base.training.lr", "goes badly with 13")]


def test_a_record_holds_what_was_read_from_a_folder(tmp_path: Path) -> None:
    there = backbone(tmp_path / "gpt2")
    path = space(tmp_path, "{backbone: gpt2}")
    specification = read_search_space(path)
    event = json.loads(json.dumps({"kind": "sweep", "name": "s", "space": path.read_text(), **files_as_recorded(specification)}))
    shutil.rmtree(there)
    again = recorded_specification(SweepFolder(tmp_path / "sweep"), [event])
    assert base_of(again) == base_of(specification) and again.named_files == specification.named_files
    assert base_of(read_search_space(path, (), recorded_files(event))) == base_of(specification), "an edited space falls back"


@pytest.mark.parametrize("described", [{}, {"described": None}, {"described": {"base.backbone": 7}}], ids=str)
def test_a_record_without_it_needs_the_folder_as_it_was(described: dict[str, Any], tmp_path: Path) -> None:
    there = backbone(tmp_path / "gpt2")
    text, reference = space(tmp_path, "{backbone: gpt2}").read_text(), reference_to(there)
    files = recorded_files({"files": {"gpt2": {"reference": reference, "path": str(there), **described}}})
    assert files == {"gpt2": NamedFile(reference, there)}
    assert base_of(read_search_space_text(text, "space.yaml", (), files))["config"] == {"dim": 32}
    (there / "config.json").write_text(json.dumps({"dim": 64}))
    with pytest.raises(SearchSpaceError, match="`gpt2` has changed"):
        read_search_space_text(text, "space.yaml", (), files)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{dim: 8}", "{dim: 8, training: {epochs: 2}}"),
        ("{choice: [{dim: 8}, {dim: 16}]}", "{choice: [{dim: 16, pos: rope}, {dim: 8}]}"),
        ("{grid: [{dim: 8}, {dim: 16}]}", "{grid: [{dim: 8, pos: rope}, {dim: 16, training: {lr: 0.5}}]}"),
    ],
)
def test_a_default_that_is_written_leaves_trials_and_meaning_as_they_are(before: str, after: str, tmp_path: Path) -> None:
    old, new = (read_search_space(space(tmp_path / name, base)) for name, base in (("old", before), ("new", after)))
    assert describe_difference(old, new) == []
    for cell in old.spaces:
        drawn = {name: searched.dimension.column(np.arange(1)).tolist()[0] for name, searched in cell.searched.items()}
        trial = configured(cell, drawn)
        home = find_home(new.spaces, cell.entry, cell.architecture.name, values_of(trial))
        assert not isinstance(home, Outside)
        assert configured(*home).fingerprint() == trial.fingerprint()


def test_another_model_is_another_meaning_and_no_home(tmp_path: Path) -> None:
    old, new = (read_search_space(space(tmp_path / name, base)) for name, base in (("old", "{dim: 8}"), ("new", "{dim: 9}")))
    assert describe_difference(old, new) == ["around.base: {dim: 8} -> {dim: 9}"]
    (cell,) = old.spaces
    home = find_home(new.spaces, cell.entry, cell.architecture.name, values_of(configured(cell, {})))
    assert isinstance(home, Outside) and home.reason == "base is {dim: 8} there and {dim: 9} here"


def test_a_model_from_a_folder_is_told_by_its_name_and_no_more(tmp_path: Path) -> None:
    folder = backbone(tmp_path / "tiny")
    (cell,) = read_search_space(space(tmp_path, f"{{choice: [{{backbone: {folder}}}, {{dim: 8}}]}}")).spaces
    named, plain = cell.searched["base"].dimension.column(np.arange(2)).tolist()
    assert named["config"] and describe_setting("base", named) == f'base={{backbone: "{reference_to(folder)}"}}'
    assert describe_setting("base", plain) == "base={dim: 8}" and shortened(plain) == "{dim: 8}"
    names = [run_name(cell, values_of(configured(cell, {"base": base}))) for base in (named, plain)]
    assert names[0].startswith("around_basetiny@") and names[1].startswith("around_base@") and max(map(len, names)) < 30
