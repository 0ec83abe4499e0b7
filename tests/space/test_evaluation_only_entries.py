"""Entries of architectures that have nothing to train, among others that have."""

from __future__ import annotations

from pathlib import Path

import pytest
from nested_model import around

from orchestrator.document import Diagnostic, SearchSpaceError
from orchestrator.space.reading import read_search_space
from orchestrator.space.study_space import StudySpace
from trainables import registry
from trainables.training.configuration import TrainingConfiguration

SHARED = "{lr: {float: [1e-4, 1e-2], log: true}, epochs: {choice: [4, 8]}, weight_decay: 0.1, eval_batch_size: 64}"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.architectures(), "around", around(evaluation_only=True))


def space(folder: Path, entry: str = "{}", shared: str = SHARED) -> Path:
    path = folder / "space.yaml"
    path.write_text(f"task: mqar\narchitectures:\n  around: {entry}\n  gpt: {{}}\ntraining: {shared}\n")
    return path


def studies(path: Path) -> dict[str, StudySpace]:
    return {cell.name: cell for cell in read_search_space(path).spaces}


def mistakes(path: Path) -> list[Diagnostic]:
    with pytest.raises(SearchSpaceError) as refused:
        read_search_space(path)
    return refused.value.diagnostics


def test_shared_training_leaves_it_with_no_epochs_and_its_evaluation(tmp_path: Path) -> None:
    found = studies(space(tmp_path))
    assert not found["around"].searched and set(found["gpt"].searched) == {"training.lr", "training.epochs"}
    defaults = {**TrainingConfiguration().to_values(), **registry.tasks()["mqar"].training_defaults}
    assert found["around"].resolve({}).training == {**defaults, "epochs": 0, "eval_batch_size": 64}


def test_it_has_no_epochs_where_nothing_is_written_either(tmp_path: Path) -> None:
    assert studies(space(tmp_path, shared=""))["around"].resolve({}).training["epochs"] == 0


def test_shared_grids_make_no_cells_of_it(tmp_path: Path) -> None:
    names = list(studies(space(tmp_path, shared="{lr: {grid: [0.1, 0.2]}, eval_batch_size: {choice: [8, 16]}}")))
    assert names == ["around", "gpt.lr-0.1", "gpt.lr-0.2"]
    assert studies(space(tmp_path, shared="{eval_batch_size: {choice: [8, 16]}}"))["around"].searched == {}


def test_its_own_evaluation_has_the_last_word(tmp_path: Path) -> None:
    found = studies(space(tmp_path, "{training: {eval_batch_size: 16}}"))
    assert found["around"].resolve({}).training["eval_batch_size"] == 16


@pytest.mark.parametrize("written", ["lr: 0.1", "epochs: 0", "epochs: {choice: [1, 2]}", "batch_size: '${k}'"])
def test_training_of_its_own_is_refused(written: str, tmp_path: Path) -> None:
    (found,) = mistakes(space(tmp_path, f"{{training: {{{written}}}}}"))
    key = written.partition(":")[0]
    assert found.message == f"`around` has nothing to train: `{key}` has no effect on it"
    assert (found.line, found.column, found.path) == (3, 23, f"architectures.around.training.{key}")
    assert "`eval_batch_size` only" in found.hint


def test_a_searched_evaluation_of_its_own_is_refused(tmp_path: Path) -> None:
    (found,) = mistakes(space(tmp_path, "{training: {eval_batch_size: {choice: [8, 16]}}}"))
    assert found.message == "`eval_batch_size` cannot be searched: `epochs: 0` only evaluates"


def test_mistakes_of_the_shared_training_are_told_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("task: mqar\narchitectures: {around: {}}\ntraining: {lr: -1, epcohs: 3}\n")
    assert [(each.line, each.path) for each in mistakes(path)] == [(3, "training.lr"), (3, "training.epcohs")]


def test_an_architecture_of_other_tasks_is_refused_with_those_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.architectures(), "around", around(tasks=("language_modeling",)))
    (found,) = mistakes(space(tmp_path))
    assert found.message == "`around` does not run on the task `mqar`" and found.hint == "tasks that fit: language_modeling"
