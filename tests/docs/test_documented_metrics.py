"""``docs/metrics.md`` names what a run records, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from documents import ROOT, table_rows

from trainables.registry import tasks
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

_FIRST_CELLS = [row[0] for row in table_rows(ROOT / "docs/metrics.md")]
DOCUMENTED = {name for cell in _FIRST_CELLS[: _FIRST_CELLS.index("tag")] for name in re.findall(r"`([^`]+)`", cell)}


TARGET_REACHED = {
    "architecture": "gpt",
    "task": "mqar",
    "model": {"dim": 8, "n_layers": 1, "dk": 4, "dv": 4},
    "task_values": {
        "vocab_size": 16,
        "input_seq_len": 8,
        "num_kv_pairs": 2,
        "train_examples": 8,
        "val_examples": 64,
        "target_accuracy": 0.001,
    },
}
WITH_A_CODEBOOK = {
    "architecture": "vq_ln_mlp",
    "task": "forecasting",
    "model": {"dim": 4, "codebook_size": 8},
    "task_values": {"series_length": 60, "time_steps": 8},
}
SMALL_TEXT = {
    "input_seq_len": 32,
    "segments": 2,
    **{"train_tokens": 1024, "fit_tokens": 128, "val_tokens": 128, "test_tokens": 128},
}
SMALL_GPT = {"dim": 8, "n_layers": 1, "dk": 4, "dv": 4}
WITH_SLOTS = {
    "architecture": "pkm",
    "task": "language_modeling",
    "model": {**SMALL_GPT, "n_subkeys": 8, "n_neighbors": 4, "query_dim": 4},
    "task_values": SMALL_TEXT,
}
WITH_A_GATE = {
    "architecture": "memorizing_transformer",
    "task": "language_modeling",
    "model": SMALL_GPT,
    "task_values": SMALL_TEXT,
}
WITH_AN_APPROXIMATE_INDEX = {
    "architecture": "adaptive_knn_lm",
    "task": "language_modeling",
    "model": {
        "base": {"architecture": "gpt", **SMALL_GPT, "use_ffn": True, "training": {"epochs": 1}},
        **{"index": "faiss_ivfpq", "n_neighbors": 4, "n_buckets": 2},
    },
    "task_values": SMALL_TEXT,
    "training": {"epochs": 0},
}
LLAMA = {"model_type": "llama", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
TINY = {"config": {**LLAMA, "num_attention_heads": 2}}
WITH_A_MEMORY = {
    "architecture": "memo_gpt",
    "task": "segment_lm",
    "model": {"backbone": TINY, "short_term_memory": 2},
    "task_values": {
        **{"train_tokens": 1024, "val_tokens": 1024, "train_length": 240, "val_length": 480, "n_segments": 2},
        **{"train_crops": 2, "eval_crops": 2, "n_questions": 2},
    },
}
WITH_TASKS = {
    "architecture": "causal_lm",
    "task": "multitask_classification",
    "model": {"backbone": TINY},
    "task_values": {"tasks": ["copa", "cb"], "input_seq_len": 192, "train_examples": 8, "val_examples": 4, "max_new_tokens": 2},
}
MEASURED = {
    "architecture": "gpt",
    "task": "memory_footprint",
    "model": SMALL_GPT,
    "task_values": {"n_tokens": 16, "repeats": 1},
    "training": {},
}
RUNS = (
    *(TARGET_REACHED, WITH_A_CODEBOOK, WITH_SLOTS, WITH_A_GATE, WITH_AN_APPROXIMATE_INDEX),
    *(WITH_A_MEMORY, WITH_TASKS, MEASURED),
)
PARTS = "|".join(tasks()["multitask_classification"].configuration_type.hyperparameters()["tasks"].default)


def _as_documented(metric: str) -> str:
    """The number of a segment is ``NN`` and the part of the data ``TASK``, whichever it is."""
    return re.sub(rf"(?<=/)({PARTS})(?=/)", "TASK", re.sub(r"(?<=/)\d+$", "NN", metric))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of a run of each task, on the CPU, and of models that tell of themselves."""
    worker = RunWorker(torch.device("cpu"))
    found: set[str] = set()
    for values in RUNS:
        artifacts = tmp_path_factory.mktemp("artifacts")
        worker.start(RunRequest(**{"run": "r1", "training": {"epochs": 1}, "artifacts": artifacts, **values}))  # type: ignore[arg-type]
        payload = worker.advance()
        assert payload["outcome"] == "completed", payload["error"]
        found |= {_as_documented(metric) for metric in (*payload["metrics"], *payload["once"])}
    worker.stop()
    return found


def test_every_recorded_metric_is_documented(recorded: set[str]) -> None:
    assert recorded <= DOCUMENTED


def test_every_documented_metric_is_recorded(recorded: set[str]) -> None:
    """Those of a GPU by the names that the source writes."""
    sources = [*(ROOT / "trainables/memory").glob("*.py"), ROOT / "trainables/training/session.py"]
    source = "".join(path.read_text() for path in sources)
    of_a_gpu = set(re.findall(r'"(vram/[a-z_]+)"', source))
    assert len(of_a_gpu) == 6
    linux_only = {"memory/peak_host_mib", "memory/baseline_host_mib"}
    assert recorded | of_a_gpu | linux_only == DOCUMENTED


def test_the_metrics_of_every_task_are_among_them() -> None:
    for task_type in tasks().values():
        assert {_as_documented(metric) for metric in (*task_type.metrics, *task_type.final_metrics)} <= DOCUMENTED
    assert Path(ROOT / "docs/metrics.md").read_text().startswith("# Metrics")
