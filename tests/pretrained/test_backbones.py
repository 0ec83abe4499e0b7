"""The field ``backbone``: shapes by name, folders, configurations, and what is said of the wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import save_tiny_model

from orchestrator.check import check_feasibility
from orchestrator.document import Diagnostic, SearchSpaceError
from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Constant
from orchestrator.sweep.proposals import configured
from trainables.configuration import ConfigurationError
from trainables.pretrained.backbone import BackboneConfiguration

SHORT = "input_seq_len: 32"
LLAMA = (
    "{model_type: llama, vocab_size: 257, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2}"
)


def specified(folder: Path, backbone: str, task: str = "") -> SweepSpecification:
    path = folder / "space.yaml"
    path.write_text(
        f"task: {{name: language_modeling, {task}}}\narchitectures:\n  tiny: {{architecture: causal_lm, backbone: {backbone}}}\n"
    )
    return read_search_space(path)


def value(cell: StudySpace) -> Any:
    found = cell.fields["backbone"].value
    assert isinstance(found, Constant)
    return found.value


def refused(folder: Path, backbone: str) -> Diagnostic:
    with pytest.raises(SearchSpaceError) as error:
        specified(folder, backbone)
    (found,) = error.value.diagnostics
    return found


def test_a_shape_is_its_name(tmp_path: Path) -> None:
    (cell,) = specified(tmp_path, "gpt2-medium").spaces
    assert value(cell) == "gpt2-medium"
    model, task = cell.model_and_task({})
    assert cell.architecture.count(model, task).total == 354_823_168


def test_a_text_that_is_no_shape_is_a_folder(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "base", "gpt2", 257)
    (short,), (long,) = specified(tmp_path, "base", SHORT).spaces, specified(tmp_path, "{folder: ./base}", SHORT).spaces
    assert value(short) == value(long)
    assert value(short)["folder"].startswith("base#sha256=")
    assert value(short)["config"]["model_type"] == "gpt2"
    assert configured(short, {}).fingerprint() == configured(long, {}).fingerprint()


def test_choices_and_grids_may_mix_them(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "base", "gpt2", 257)
    cells = specified(tmp_path, f"{{grid: [qwen2-0.5b, base, {{config: {LLAMA}}}]}}").spaces
    assert [type(value(cell)) for cell in cells] == [str, dict, dict]
    assert len({cell.name for cell in cells}) == 3
    (chosen,) = specified(tmp_path, f"{{choice: [base, {{config: {LLAMA}}}]}}").spaces
    totals = {int(chosen.architecture.count(*chosen.model_and_task({"backbone": one})).total) for one in value_choices(chosen)}
    assert len(totals) == 2


def value_choices(cell: StudySpace) -> list[Any]:
    return list(cell.searched["backbone"].dimension.choices)


def test_the_values_of_a_configuration_are_what_the_folder_says(tmp_path: Path) -> None:
    (cell,) = specified(tmp_path, f"{{config: {LLAMA}}}").spaces
    model, _ = cell.model_and_task({})
    assert type(model).from_values(model.to_values()) == model


MISTAKES = {
    "gpt2-mediun": ("there is no file or folder `gpt2-mediun`", "did you mean `gpt2-medium`?"),
    "empty": ("the folder `empty` holds no files", ""),
    "bare": ("is not a model folder: it has no config.json", ""),
    "weightless": ("has no weights", ""),
    "{folder: gpt2-medium}": ("is the name of a shape: write backbone: gpt2-medium", ""),
    "{folder: base, config: {model_type: gpt2}}": ("is read from `base`", "leave it out"),
    "{config: {model_type: llamma}}": ("did you mean 'llama'?", ""),
    "{config: {model_type: bert}}": ("is not a causal language model", ""),
    "{config: {model_type: llama, num_hidden_layers: 0}}": ("with 0 layers", ""),
    "{config: {hidden_size: 8}}": ("name the model_type", ""),
    "{config: 3}": ("expected a mapping", ""),
    "{}": ("give a folder or {config: {model_type: …}}", ""),
    "{confg: {model_type: llama}}": ("confg", "did you mean `config`?"),
    "{config: {model_type: llama, hidden_size: {int: [8, 16]}}}": ("`backbone.config.hidden_size` cannot be searched", ""),
    "{config: {model_type: llama, hiden_size: 8}}": ("is nothing that a llama has: did you mean 'hidden_size'?", ""),
    '"${1}"': ("nothing in it can be searched or computed", ""),
    "7": ("7", ""),
}


@pytest.mark.parametrize("written", MISTAKES)
def test_mistakes_are_told_where_they_stand(tmp_path: Path, written: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "notes.txt").write_text("no model")
    save_tiny_model(tmp_path / "base", "gpt2", 257)
    save_tiny_model(tmp_path / "weightless", "gpt2", 257)
    (tmp_path / "weightless" / "model.safetensors").unlink()
    message, hint = MISTAKES[written]
    found = refused(tmp_path, written)
    assert message in found.message
    assert hint in found.hint
    assert found.line == 3 and found.column >= 41


def test_tokens_and_positions_of_the_task_must_be_the_model_s(tmp_path: Path) -> None:
    def told(backbone: str, task: str) -> list[str]:
        return [found.message for found in check_feasibility(specified(tmp_path, backbone, task))[1].found]

    save_tiny_model(tmp_path / "base", "gpt2", 400)
    assert not told(f"{{config: {LLAMA}}}", "")
    assert not told("gpt2-medium", ""), "random weights may have more rows than there are tokens"
    assert any("257 tokens and the model 400, which is more than padding" in text for text in told("base", ""))
    assert any("positions" in text for text in told("gpt2-medium", "train_tokens: 9000, segments: 1, input_seq_len: 2048"))


def test_a_text_without_a_reader_is_a_name(tmp_path: Path) -> None:
    assert BackboneConfiguration.from_values({"backbone": "qwen2-7b"}).backbone == "qwen2-7b"
    with pytest.raises(ConfigurationError, match="'/models/x' is none of gpt2-medium"):
        BackboneConfiguration.from_values({"backbone": "/models/x"})
