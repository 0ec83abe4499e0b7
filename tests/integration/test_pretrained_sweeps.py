"""Pretrained models on real Ray: a folder whose weights are copied once for all that use it, and memory that a process of its
own measures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sweeps import Finished, finished, run_sweep
from tiny import save_tiny_model

from orchestrator.launch import LaunchOptions, SweepObserver, resume
from orchestrator.record import read_journal
from trainables.registry import architectures, tasks

pytestmark = pytest.mark.long

VOCABULARY, SEGMENTS = 64, 4
MEMORY = {"short_term_memory": 4, "memory_block": 8, "input_block": 16}
SEGMENT_LM: dict[str, Any] = {
    "name": "pieces",
    "task": {
        **{"name": "segment_lm", "tokens": "ids", "vocab_size": VOCABULARY, "train_length": 16, "val_length": 32},
        **{"n_segments": SEGMENTS, "train_crops": 4, "eval_crops": 2},
    },
    "architectures": {
        "memory": {"architecture": "memo_gpt", "backbone": "model", **MEMORY},
        "plain": {"architecture": "causal_lm", "backbone": "model"},
        "adapters": {"architecture": "lora_attn", "backbone": "model", "lora_r": 2},
    },
    "training": {"lr": 1e-3, "epochs": 1, "batch_size": 2},
    "search": {"sampler": "random", "trials": 1},
}
CONFIG = {
    **{"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 2},
}
FOOTPRINT: dict[str, Any] = {
    "name": "footprint",
    "task": {"name": "memory_footprint", "n_tokens": 32, "repeats": 1},
    "architectures": {
        "plain": {"architecture": "causal_lm", "backbone": {"config": CONFIG}},
        "memory": {"architecture": "memo_gpt", "backbone": {"config": CONFIG}, **MEMORY},
    },
    "search": {"sampler": "random", "trials": 1},
}


def write_ids(folder: Path) -> None:
    folder.mkdir()
    for name, count in (("train.bin", 400), ("val.bin", 200)):
        (np.arange(count) % 61).astype("<u2").tofile(folder / name)


@pytest.fixture(scope="module")
def sweep(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("pieces")
    save_tiny_model(folder / "model", "llama", VOCABULARY)
    write_ids(folder / "ids")
    return run_sweep(folder, SEGMENT_LM)


def copies(found: Finished) -> list[Path]:
    return [path for path in found.result.folder.artifacts.iterdir() if path.name.startswith("base-")]


def test_every_kind_of_model_completes_on_one_copy_of_the_weights(sweep: Finished) -> None:
    assert {run.outcome for run in sweep.data.state.runs.values()} == {"completed"} and len(sweep.children) == 3
    prepared = [event for event in read_journal(sweep.result.folder.record) if event["kind"] == "prepared"]
    (copy,) = copies(sweep)
    assert len(prepared) == 1
    assert {run.data.tags["memsweep.shared.base"] for run in sweep.children.values()} == {copy.name}


def test_each_run_has_the_losses_of_its_segments_and_the_memory_its_controls(sweep: Finished) -> None:
    for run in sweep.children.values():
        metrics = run.data.metrics
        losses = [metrics[f"val/segment_loss/{place:02d}"] for place in range(SEGMENTS)]
        assert np.mean(losses) == pytest.approx(metrics["val/loss"], rel=1e-6)
        remembers = run.data.tags["memsweep.entry"] == "memory"
        assert {"val/memory_gain" in metrics, "val/full_attention_loss" in metrics} == {remembers}


def test_what_mlflow_shows_names_the_folder_and_spells_nothing_out(sweep: Finished) -> None:
    for run in sweep.children.values():
        assert run.data.params["backbone"].startswith('{folder: "model#sha256=')
        assert max(map(len, run.data.params.values())) < 100


def test_adapters_alone_are_trainable_and_kept(sweep: Finished) -> None:
    by_entry = {run.data.tags["memsweep.entry"]: run for run in sweep.children.values()}
    assert by_entry["adapters"].data.metrics["params/trainable"] == 2 * 2 * 2 * (32 + 32)
    assert by_entry["plain"].data.metrics["params/trainable"] == by_entry["plain"].data.metrics["params/total"]


def test_the_report_compares_lengths_with_full_attention(sweep: Finished) -> None:
    header, _, *rows = (sweep.result.folder.report / "by_length.md").read_text().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["entry", "train 16", "val 32"]
    assert [row.split("|")[1].strip() for row in rows[:4]] == ["memory", "plain", "adapters", "full attention"]


def test_it_goes_on_where_the_folder_of_the_model_is_gone(sweep: Finished) -> None:
    folder = sweep.result.folder
    shutil.rmtree(folder.path.parent / "model")
    space = folder.path.parent / "more.yaml"
    space.write_text((folder.path / "space.yaml").read_text())
    more = finished(resume(folder, None, LaunchOptions(folder.path.parent, "pieces"), SweepObserver()))
    assert {run.outcome for run in more.data.state.runs.values()} == {"completed"} and len(copies(more)) == 1


@pytest.fixture(scope="module")
def footprints(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_sweep(tmp_path_factory.mktemp("footprint"), FOOTPRINT)


def test_runs_that_measure_memory_have_the_figures_of_their_process_once_and_no_others(footprints: Finished) -> None:
    known = {"memory/peak_host_mib", "memory/baseline_host_mib", "memory/weights_mib", "throughput/inference_tokens_per_s"}
    assert len(footprints.children) == 2
    for run in footprints.children.values():
        metrics = run.data.metrics
        assert run.data.tags["outcome"] == "completed"
        counted = {name for name in metrics if name.startswith("params/")}
        assert metrics.keys() - counted == known | {"memory/estimated_mib", "time/total_s"}
        for name in known:
            (point,) = footprints.client.get_metric_history(run.info.run_id, name)
            assert point.value == metrics[name] > 0
        assert metrics["memory/peak_host_mib"] >= metrics["memory/baseline_host_mib"] + metrics["memory/weights_mib"]


def test_weights_and_counts_are_those_of_the_model(footprints: Finished) -> None:
    task = tasks()["memory_footprint"].configuration_type.from_values({"n_tokens": 32})
    for run in footprints.children.values():
        architecture = architectures()[run.data.tags["memsweep.architecture"]]
        values = {key: value for key, value in FOOTPRINT["architectures"][run.data.tags["memsweep.entry"]].items()}
        values.pop("architecture")
        total = architecture.count(architecture.configuration.from_values(values), task).total
        assert run.data.metrics["params/total"] == total
        assert run.data.metrics["memory/weights_mib"] >= total * 4 / 2**20
