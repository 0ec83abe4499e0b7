"""``docs/metrics.md`` names what a run records, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from documents import ROOT, table_rows

from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

_FIRST_CELLS = [row[0] for row in table_rows(ROOT / "docs/metrics.md")]
DOCUMENTED = {cell.strip("`") for cell in _FIRST_CELLS[: _FIRST_CELLS.index("tag")] if cell.startswith("`")}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of a run that reaches its target, on the CPU."""
    task = {"vocab_size": 16, "input_seq_len": 8, "num_kv_pairs": 2, "train_examples": 8, "val_examples": 64}
    worker = RunWorker(torch.device("cpu"))
    worker.start(
        RunRequest(
            run="r1",
            architecture="gpt",
            task="mqar",
            model={"dim": 8, "n_layers": 1, "dk": 4, "dv": 4},
            task_values=task | {"target_accuracy": 0.001},
            training={"epochs": 1},
            artifacts=tmp_path_factory.mktemp("artifacts"),
        )
    )
    payload = worker.advance()
    assert payload["outcome"] == "completed"
    return {*payload["metrics"], *payload["once"]}


def test_every_recorded_metric_is_documented(recorded: set[str]) -> None:
    assert recorded <= DOCUMENTED


def test_every_documented_metric_is_recorded(recorded: set[str]) -> None:
    """Those of a GPU by the names that the source writes."""
    sources = [*(ROOT / "trainables/memory").glob("*.py"), ROOT / "trainables/training/session.py"]
    source = "".join(path.read_text() for path in sources)
    of_a_gpu = set(re.findall(r'"(vram/[a-z_]+)"', source))
    assert len(of_a_gpu) == 5
    linux_only = {"memory/peak_host_mib", "memory/baseline_host_mib"}
    assert recorded | of_a_gpu | linux_only == DOCUMENTED


def test_the_metrics_of_the_task_are_among_them() -> None:
    assert {"val/loss", "val/accuracy"} <= DOCUMENTED
    assert Path(ROOT / "docs/metrics.md").read_text().startswith("# Metrics")
