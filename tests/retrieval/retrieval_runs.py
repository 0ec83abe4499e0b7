"""Small retrieval models on the facts corpus, with everything that their stages make."""

from pathlib import Path
from typing import Any

import torch

from trainables.registry import architectures, tasks
from trainables.stages import Stage, StageContext, make_stages, stages_of
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

CPU = torch.device("cpu")
BASE: dict[str, Any] = {
    **{"architecture": "gpt", "dim": 16, "n_layers": 1, "n_heads": 1, "dk": 16, "dv": 16, "use_ffn": True},
    "training": {"epochs": 1, "lr": 3e-3},
}
TASK: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": 32, "segments": 2},
    **{"train_tokens": 2048, "fit_tokens": 256, "val_tokens": 300, "test_tokens": 256},
}
MODEL: dict[str, Any] = {"base": BASE, "n_neighbors": 8}


def request(artifacts: Path, model: dict[str, Any] = MODEL, task: dict[str, Any] = TASK, name: str = "knn_lm") -> RunRequest:
    values = {"architecture": name, "task": "language_modeling", "model": model, "task_values": task}
    return RunRequest(run="run", training={"epochs": 0}, artifacts=artifacts, **values)


def started(artifacts: Path, **changed: Any) -> TrainingSession:
    session = TrainingSession(request(artifacts, **changed), CPU)
    session.start()
    return session


def stages(model: dict[str, Any] = MODEL, task: dict[str, Any] = TASK, name: str = "knn_lm") -> list[Stage]:
    architecture, task_type = architectures()[name], tasks()["language_modeling"]
    configured = architecture.configuration.from_values(model), task_type.configuration_type.from_values(task)
    return list(stages_of(architecture, configured[0], task_type, configured[1]))


def made(wanted: list[Stage], artifacts: Path, data: Path) -> dict[str, Path]:
    return make_stages(wanted, StageContext(artifacts, data, CPU))
