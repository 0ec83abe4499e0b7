"""Backbones that are trained here, once, before the runs that share them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.check import check_feasibility
from orchestrator.document import SearchSpaceError
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.stages import shared_stages
from trainables.pretrained.pretraining import PRETRAINING
from trainables.registry import tasks
from trainables.shared_weights import read_weights
from trainables.training.own_state import own_state
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

CPU = torch.device("cpu")
CONFIG: dict[str, Any] = {
    **{"model_type": "llama", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "initializer_range": 0.2},
}
TASK = {"input_seq_len": 32, "segments": 2, "train_tokens": 1024, "fit_tokens": 128, "val_tokens": 128, "test_tokens": 128}
PRETRAINED = {"config": CONFIG, "pretraining": {"training": {"epochs": 1, "lr": 1e-2}, "task": {"seed": 3}, "seed": 5}}
MEMORY = {"short_term_memory": 4, "input_block": 8, "memory_block": 4}


def session(folder: Path, architecture: str, *, seed: int = 0, **model: Any) -> TrainingSession:
    request = RunRequest(
        run="r1",
        architecture=architecture,
        task="language_modeling",
        model={"backbone": PRETRAINED, **model},
        task_values=TASK,
        training={"epochs": 1},
        seed=seed,
        artifacts=folder,
    )
    made = TrainingSession(request, CPU)
    made.start()
    return made


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_is_trained_once_on_its_own_data_and_shared_by_all_architectures_and_seeds(tmp_path: Path) -> None:
    plain, remembering = session(tmp_path, "causal_lm"), session(tmp_path, "memo_gpt", seed=7, **MEMORY)
    (base,) = tmp_path.glob("base-*")
    weights = read_weights(base)
    assert same(plain.module.state_dict(), weights) and same(remembering.module.state_dict(), weights)
    assert len(list(tmp_path.glob("language_modeling-*"))) == 2, "the text of the pretraining has another seed"
    alone = TrainingSession(
        dataclasses.replace(
            plain.request,
            model={"backbone": {"config": CONFIG}},
            task_values={**TASK, "seed": 3},
            training={"epochs": 1, "lr": 1e-2},
            seed=5,
        ),
        CPU,
    )
    alone.start()
    assert not same(alone.module.state_dict(), weights)
    alone.step()
    assert same(alone.module.state_dict(), weights)


def test_checkpoints_of_adapters_hold_nothing_of_it(tmp_path: Path) -> None:
    adapted = session(tmp_path, "lora_attn", lora_r=2)
    assert {name.rpartition("lora_")[1] for name in own_state(adapted.module)} == {"lora_"}
    whole = own_state(session(tmp_path, "causal_lm").module)
    assert whole.keys() == session(tmp_path, "causal_lm").module.state_dict().keys()


def space(folder: Path, backbone: str, task: str = "name: language_modeling, train_tokens: 4096", entries: str = "") -> Path:
    path = folder / "space.yaml"
    path.write_text(
        f"task: {{{task}}}\nmodel: {{backbone: {backbone}}}\narchitectures:\n  causal_lm: {{}}\n  lora_attn: {{}}\n{entries}"
    )
    return path


SMALL = (
    "{model_type: llama, vocab_size: 257, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2}"
)


def test_a_sweep_has_one_stage_for_all_entries(tmp_path: Path) -> None:
    backbone = f"{{config: {SMALL}, pretraining: {{training: {{epochs: 2}}}}}}"
    (stage,) = shared_stages(read_search_space(space(tmp_path, backbone)))
    assert stage.stage.title == "pretrained llama-16x1"
    assert not stage.stage.reads_files


def test_values_are_read_once_and_for_all() -> None:
    read = PRETRAINING.read({"training": {"lr": 1, "epochs": 2.0}})
    assert read == {"task": {}, "training": {"lr": 1.0, "epochs": 2}, "seed": 0}
    assert PRETRAINING.read(read) == read


MISTAKES = {
    "pretraining: {epochs: 3}": ("unknown field of `backbone` `epochs`", "known here: seed, task, training"),
    "pretraining: {training: {epoch: 3}}": ("unknown field of `backbone` `epoch`", "did you mean `epochs`?"),
    "pretraining: {training: {lr: -1}}": ("must be greater than 0", ""),
    "pretraining: {training: {lr: {float: [1e-4, 1e-2]}}}": ("nothing in it can be searched", ""),
    "pretraining: 3": ("pretraining", ""),
    "pretraining: {task: {seeed: 3}}": ("seeed", ""),
    "pretraining: {task: {input_seq_len: 1}}": ("must be at least 2", ""),
}


@pytest.mark.parametrize("written", MISTAKES)
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, written: str) -> None:
    path = space(tmp_path, f"{{config: {SMALL}, {written}}}")
    try:
        found = check_feasibility(read_search_space(path))[1].found
    except SearchSpaceError as error:
        found = error.diagnostics
    message, hint = MISTAKES[written]
    assert found and all(message in one.message and hint in one.hint for one in found)
    assert all(one.line == 2 for one in found)


def test_a_folder_is_not_pretrained_again(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    with pytest.raises(SearchSpaceError):
        read_search_space(space(tmp_path, "{folder: base, pretraining: {}}"))


def test_a_footprint_has_nothing_to_pretrain_on(tmp_path: Path) -> None:
    path = space(tmp_path, f"{{config: {SMALL}, pretraining: {{}}}}", task="name: memory_footprint")
    found = check_feasibility(read_search_space(path))[1].found
    assert found and all("which trains nothing" in one.message for one in found)


def test_the_names_of_tasks_are_those_whose_configurations_they_are() -> None:
    kinds = [task.configuration_type for task in tasks().values()]
    assert len(set(kinds)) == len(kinds)
