"""The base model: how a mapping describes it, how it is trained once, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retrieval_runs import BASE, CPU, TASK, made, request, stages

from trainables.configuration import ConfigurationError, DescribesFiles
from trainables.prepared import prepare_data
from trainables.registry import tasks
from trainables.retrieval.base import BaseSpecification, base_counts, base_width, build_base
from trainables.retrieval.base_fields import BASE as FIELDS
from trainables.shared_training import train_base
from trainables.shared_weights import load_weights
from trainables.stages import StageContext
from trainables.training.session import TrainingSession


def _task() -> Any:
    return tasks()["language_modeling"].configuration_type.from_values(TASK)


def test_what_is_read_is_in_final_types_and_reads_the_same_again() -> None:
    read = FIELDS.read({"architecture": "gpt", "use_ffn": True, "dim": 32.0, "training": {"lr": 1, "epochs": 2}, "seed": 3.0})
    assert read == {"architecture": "gpt", "use_ffn": True, "dim": 32, "training": {"lr": 1.0, "epochs": 2}, "seed": 3}
    assert type(read["dim"]) is type(read["seed"]) is int and type(read["training"]["lr"]) is float
    assert FIELDS.read(read) == read


def test_fields_are_those_of_the_architecture_and_of_training_with_the_defaults_of_the_task() -> None:
    fields = FIELDS.fields({"architecture": "pkm"})
    assert {"architecture", "n_subkeys", "dim", "training.lr", "seed"} <= set(fields)
    assert fields["training.batch_size"].default == tasks()["language_modeling"].training_defaults["batch_size"]
    assert list(FIELDS.fields({"backbone": "folder"})) == ["backbone"]
    assert isinstance(FIELDS, DescribesFiles)


def test_mappings_that_mean_the_same_have_one_identity() -> None:
    written = {**BASE, "ffn_act": "silu", "seed": 0, "training": {**BASE["training"], "batch_size": 8}}
    assert FIELDS.identity(written) == FIELDS.identity(BASE) != FIELDS.identity({**BASE, "seed": 1})
    one, other = ({"backbone": f"{name}#sha256=0123456789abcdef", "config": {}} for name in ("here", "there"))
    assert FIELDS.identity(one) == FIELDS.identity(other)


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ({}, "name an architecture"),
        ({"architecture": "knn_lm"}, "architecture: expected one of"),
        ({"architecture": "lstm"}, "architecture: expected one of"),
        ({"architecture": "gpt"}, "use_ffn: keys are taken at the last feed-forward layer"),
        ({"architecture": "gpt", "use_ffn": True, "width": 3}, "width: is not a field"),
        ({"architecture": "gpt", "use_ffn": True, "dim": 0}, "dim: must be at least 1"),
        ({"architecture": "gpt", "use_ffn": True, "training": {"lr": -1}}, "training.lr: must be greater than 0"),
        ({"architecture": "gpt", "use_ffn": True, "training": 3}, "training: expected a mapping"),
        ({"backbone": "gpt2", "dim": 3}, "dim: does not go with a backbone"),
        ({"backbone": 3}, "backbone: expected text"),
    ],
)
def test_what_does_not_describe_a_base_is_told(base: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        FIELDS.read(base)


def test_problems_of_a_base_are_told_at_their_place_in_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"base\.dim: must be at least 1"):
        request(tmp_path, model={"base": {**BASE, "dim": 0}}).resolved()


def test_a_backbone_that_nobody_has_looked_at_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="its configuration is missing"):
        BaseSpecification.of({"backbone": "gpt2"})


def test_a_folder_without_a_model_is_no_backbone(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="backbone"):
        FIELDS.describe_file("backbone", tmp_path)


def test_it_is_trained_once_and_loaded_everywhere(tmp_path: Path) -> None:
    (stage, *_), beats = stages(), []
    data = prepare_data(tmp_path, tasks()["language_modeling"], _task())
    folder = tmp_path / "made"
    folder.mkdir()
    stage.make(folder, StageContext(tmp_path, data, CPU, beat=lambda: beats.append(1)))
    wanted = replace(BaseSpecification.of(BASE).request(tasks()["language_modeling"], _task()), artifacts=tmp_path)
    alone = TrainingSession(wanted, CPU)
    alone.start()
    metrics = alone.step().metrics
    loaded = build_base(BASE, _task())
    load_weights(loaded, folder)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in alone.module.state_dict().items())
    assert json.loads((folder / "metrics.json").read_text())["val/loss"] == metrics["val/loss"]
    assert len(beats) > 2048 // 64 / 8 and not list(tmp_path.glob("unfinished-*"))


def test_training_that_was_interrupted_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    longer = {**BASE, "training": {"epochs": 2, "lr": 3e-3}}
    specification, task_type = BaseSpecification.of(longer), tasks()["language_modeling"]
    folder = tmp_path / "unfinished"
    wanted = replace(specification.request(task_type, _task()), artifacts=tmp_path, folder=folder)
    uninterrupted = TrainingSession(wanted, CPU)
    uninterrupted.start()
    uninterrupted.step()
    uninterrupted.save(folder / "checkpoint.pt")
    uninterrupted.step()
    epochs = []
    module, metrics = train_base(wanted, StageContext(tmp_path, tmp_path, CPU, beat=lambda: epochs.append(1)))
    assert metrics["val/loss"] == uninterrupted.report_again().metrics["val/loss"]
    whole = uninterrupted.module.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in module.state_dict().items())
    assert 0 < len(epochs) < 100


def test_a_base_that_diverges_says_so(tmp_path: Path) -> None:
    wild = {**BASE, "training": {"epochs": 1, "lr": 1e30, "clip_grad": None}}
    data = prepare_data(tmp_path, tasks()["language_modeling"], _task())
    with pytest.raises(ValueError, match=r"its training diverged, .*: lower lr in the training of the base"):
        made(stages(model={"base": wild, "n_neighbors": 4})[:1], tmp_path, data)


def test_weights_of_another_base_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not hold the base of this run"):
        load_weights(build_base(BASE, _task()), tmp_path)


@pytest.mark.parametrize("name", ["gpt", "unified_kv", "delta_net", "pkm", "topk_attention"])
def test_all_of_it_is_counted_as_frozen(name: str) -> None:
    base = {"architecture": name, "dim": 16, "n_layers": 1, "use_ffn": True}
    counts = base_counts(base, _task())
    with torch.device("meta"):
        module = build_base(base, _task())
    assert counts.total == counts.frozen == sum(parameter.numel() for parameter in module.parameters())
    assert counts.trainable == 0


def test_a_column_of_bases_is_counted_row_by_row() -> None:
    rows = [BASE, {**BASE, "dim": 32}, {**BASE, "n_layers": 3}]
    column = np.empty(3, dtype=object)
    column[:] = rows
    together = base_counts(column, _task()).by_scope()
    for scope, counted in together.items():
        assert counted.tolist() == [base_counts(row, _task()).by_scope()[scope] for row in rows]
    assert base_width(column).tolist() == [16, 32, 16]
