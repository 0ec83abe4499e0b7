"""Small sweeps on real Ray, and what MLflow holds of them afterwards."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.launch import LaunchOptions, LaunchResult, SweepObserver, launch
from orchestrator.report.collect import SweepData, load_sweep
from orchestrator.space.reading import read_search_space

NO_HOOK_WAITS_S = 1.0
"""No call into our hooks waits for a network or a sleeping process. How short they are is measured on a quiet machine by
``benchmarks/overhead.py`` (under 0.1 s); on a busy one a call can be held up by whatever else runs."""

SPACE: dict[str, Any] = {
    "name": "small",
    "task": {
        "name": "mqar",
        "vocab_size": 32,
        "input_seq_len": 16,
        "num_kv_pairs": 2,
        "train_examples": 64,
        "val_examples": 32,
    },
    "model": {"dim": 8, "n_layers": 1, "n_heads": {"choice": [1, 2]}},
    "architectures": {
        "gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": {"int": [2, 12], "step": 2}},
        "delta_net": {"dk": {"int": [2, 12], "step": 2}, "dv": {"int": [2, 12], "step": 2}},
        "unified_kv": {"du": {"int": [2, 16], "step": 2}},
    },
    "training": {"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": 3},
    "constraints": {"params": {"scope": "block", "target": 520, "tolerance": 0.2}},
    "objective": {"metric": "val/loss"},
    "search": {"sampler": "tpe", "trials": 2},
}
"""Two optimiser steps an epoch. ``unified_kv`` has two feasible structures, the others 15 and 19."""


def small_space(**sections: Any) -> dict[str, Any]:
    """:data:`SPACE` with some sections replaced; None leaves one out."""
    document = copy.deepcopy(SPACE) | sections
    return {name: section for name, section in document.items() if section is not None}


def write_space(folder: Path, document: Mapping[str, Any]) -> Path:
    path = folder / f"{document['name']}.yaml"
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return path


@dataclass(frozen=True)
class Finished:
    """A sweep that ran, as its record and as MLflow tell it."""

    result: LaunchResult
    data: SweepData
    client: MlflowClient
    mlflow_runs: list[Run]

    @property
    def parent(self) -> Run:
        (parent,) = (run for run in self.mlflow_runs if "mlflow.parentRunId" not in run.data.tags)
        return parent

    @property
    def children(self) -> dict[str, Run]:
        """The MLflow runs of our runs, by our run id; a run that is there twice fails."""
        children = [run for run in self.mlflow_runs if "mlflow.parentRunId" in run.data.tags]
        by_id = {run.data.tags["memsweep.run"].rpartition("/")[2]: run for run in children}
        assert len(by_id) == len(children), "a run was created twice"
        return by_id


def run_sweep(folder: Path, document: Mapping[str, Any], tracking_uri: str | None = None) -> Finished:
    """Runs ``document`` with ``folder`` as the storage."""
    specification = read_search_space(write_space(folder, document))
    result = launch(specification, LaunchOptions(folder, specification.name, tracking_uri), SweepObserver())
    return finished(result, tracking_uri)


def finished(result: LaunchResult, tracking_uri: str | None = None) -> Finished:
    data = load_sweep(result.folder)
    client = MlflowClient(tracking_uri or result.folder.default_tracking_uri)
    experiment = client.get_experiment_by_name(data.specification.tracking.experiment or data.name)
    return Finished(result, data, client, client.search_runs([experiment.experiment_id], max_results=1000))
