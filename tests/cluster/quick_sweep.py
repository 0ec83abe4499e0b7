"""The smallest sweep that is one: two architectures, two trials each, one epoch; and what is left of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from hosts import REPOSITORY
from mlflow import MlflowClient

NAME = "quick"
SPACE: dict[str, Any] = {
    "name": NAME,
    "task": {"name": "mqar", "vocab_size": 32, "input_seq_len": 16, "num_kv_pairs": 2, "train_examples": 64, "val_examples": 32},
    "model": {"dim": 8, "n_layers": 1, "n_heads": {"choice": [1, 2]}},
    "architectures": {
        "gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": {"int": [2, 12], "step": 2}},
        "delta_net": {"dk": {"int": [2, 12], "step": 2}, "dv": {"int": [2, 12], "step": 2}},
    },
    "training": {"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": 1},
    "constraints": {"params": {"scope": "block", "target": 520, "tolerance": 0.2}},
    "objective": {"metric": "val/loss"},
    "search": {"sampler": "random", "trials": 2},
    "resources": {"cpu": 1, "gpu": 0},
}
RUNS = 4


def project(folder: Path, spaces: dict[str, dict[str, Any]] | None = None) -> Path:
    """A copy of what of the repository a user's folder needs, with ``search_spaces/quick.yaml`` (and other spaces)."""
    shutil.copytree(REPOSITORY / "clusters", folder / "clusters")
    for package in ("orchestrator", "trainables"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, folder)
    (folder / "search_spaces").mkdir()
    for name, document in {NAME: SPACE, **(spaces or {})}.items():
        (folder / "search_spaces" / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


def outcomes(storage: Path, name: str) -> list[str]:
    """The outcome of each run of a sweep, as MLflow tells it; a run that is there twice fails."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = [run.data.tags for run in client.search_runs(experiments) if "mlflow.parentRunId" in run.data.tags]
    ours = [tags for tags in runs if tags["memsweep.sweep"] == name]
    assert len({tags["memsweep.run"] for tags in ours}) == len(ours), "a run was created twice"
    return [tags["outcome"] for tags in ours]
