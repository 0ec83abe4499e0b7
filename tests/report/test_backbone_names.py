"""Backbones are called by short names wherever people read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_sweeps import RecordedSweep

from orchestrator.report.collect import best_trials
from orchestrator.report.summary import model_name
from orchestrator.report.table import result_table
from orchestrator.space.reading import read_search_space_text
from orchestrator.space.reading.cell_labels import mapping_labels
from orchestrator.space.study_space import StudySpace
from orchestrator.sweep.naming import run_name, shortened
from trainables.pretrained.backbone_names import backbone_name, backbone_names, is_backbone

LLAMA: dict[str, Any] = {"config": {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 257}}
WIDER: dict[str, Any] = {"config": {**LLAMA["config"], "intermediate_size": 512}}
GPT2: dict[str, Any] = {"config": {"model_type": "gpt2", "n_embd": 32, "n_layer": 4}}
DIGEST = "0123456789abcdef"
FOLDER: dict[str, Any] = {"folder": f"models/tiny#sha256={DIGEST}", "config": LLAMA["config"]}
OTHER: dict[str, Any] = {"folder": f"models/tiny#sha256={DIGEST[::-1]}", "config": LLAMA["config"]}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("qwen2-0.5b", "qwen2-0.5b"),
        (LLAMA, "llama-64x2"),
        (GPT2, "gpt2-32x4"),
        ({"config": {"model_type": "gpt2"}}, "gpt2"),
        (FOLDER, "models/tiny"),
    ],
    ids=str,
)
def test_a_backbone_has_a_short_name(value: Any, name: str) -> None:
    assert backbone_name(value) == name
    assert shortened(value) == name and mapping_labels([value, "gpt2-medium"]) == [name, "gpt2-medium"]


def test_those_that_would_be_called_the_same_have_digits(tmp_path: Path) -> None:
    first, second, same, third = backbone_names([LLAMA, WIDER, dict(LLAMA), GPT2])
    assert first == same != second and {first[:11], second[:11]} == {"llama-64x2@"} and len(first) == len("llama-64x2@") + 6
    assert third == "gpt2-32x4"
    assert backbone_names([FOLDER, OTHER, LLAMA]) == ["models/tiny@012345", "models/tiny@fedcba", "llama-64x2"]


def test_other_mappings_are_no_backbones() -> None:
    others: list[Any] = [{"architecture": "gpt"}, {"backbone": "x", "config": {}}, {"config": "llama"}, "llama", None]
    assert not any(map(is_backbone, others))
    assert shortened({"dim": 8}) == "{dim: 8}"


def test_tables_tell_the_backbones_of_a_sweep_apart(tmp_path: Path) -> None:
    """What is in the record counts: the field itself may be any of the model's."""
    space = """
name: recorded
task: {name: mqar}
architectures:
  one: {architecture: gpt, dk: {choice: [LLAMA, GPT2]}}
  two: {architecture: gpt, dk: {choice: [WIDER, GPT2]}}
training: {lr: 0.001, epochs: 1}
objective: {metric: val/loss, mode: min}
search: {trials: 4}
"""
    sweep = RecordedSweep(tmp_path / "s", space=space.replace("LLAMA", "8").replace("WIDER", "16").replace("GPT2", "32"))
    for entry, backbone in (("one", LLAMA), ("two", WIDER), ("two", GPT2)):
        loss = 3.0 if backbone is GPT2 else 2.0
        constant = {"training.lr": 0.001, "training.epochs": 1}
        sweep.trial(entry, [loss], [({"val/loss": [loss]}, {})], {"dk": backbone}, constant)
    data = sweep.load()
    table = result_table(data)
    shown = [row[table.header.index("dk")] for row in table.rows]
    assert len(set(shown)) == 2 and all(name.startswith("llama-64x2@") for name in shown)
    assert [model_name(data, best) for best in best_trials(data)] == [
        f"{entry} (dk {name})" for entry, name in zip(("one", "two"), shown, strict=True)
    ]


def test_cells_and_runs_are_named_after_backbones() -> None:
    space = """
task: {name: language_modeling, vocab_size: 257, input_seq_len: 16}
architectures:
  plain:
    architecture: causal_lm
    backbone:
      grid: [gpt2-medium, {config: {TINY, n_layer: 1}}, {config: {TINY, n_layer: 2}}, {config: {TINY, n_layer: 2, n_inner: 8}}]
training: {lr: 0.001}
"""
    specification = read_search_space_text(
        space.replace("TINY", "model_type: gpt2, vocab_size: 257, n_embd: 8, n_head: 2"), "space.yaml"
    )
    first, second, *alike = specification.spaces
    assert (first.name, second.name) == ("plain.backbone-gpt2-medium", "plain.backbone-gpt2-8x1")
    assert len({space.name for space in alike}) == 2 and all(space.name.startswith("plain.backbone-gpt2-8x2-") for space in alike)
    names = [run_name(space, values_of(space)) for space in (first, second)]
    assert names == ["plain_backbonegpt2-medium", "plain_backbonegpt2-8x1"]


def values_of(space: StudySpace) -> dict[str, dict[str, Any]]:
    found = space.resolve({})
    return {"model": found.model, "task": found.task, "training": found.training}
