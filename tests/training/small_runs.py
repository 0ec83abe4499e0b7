"""Small runs for the tests of training, and architectures that misbehave."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables import registry
from trainables.training.protocol import StepReport
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

CPU = torch.device("cpu")
TASK = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 200, "val_examples": 50}
MODELS = {
    "gpt": {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8},
    "unified_kv": {"dim": 16, "n_layers": 1, "n_heads": 2, "du": 8},
    "delta_net": {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8},
}
CLOCKS = ("time/", "throughput/")


def small_request(root: Path, **changes: Any) -> RunRequest:
    """Three epochs of 7 steps on 200 examples; ``training`` and ``task_values`` are merged into the small ones."""
    architecture = changes.pop("architecture", "gpt")
    values: dict[str, Any] = {
        "run": "r1",
        "architecture": architecture,
        "task": "mqar",
        "model": MODELS.get(architecture, MODELS["gpt"]),
        "artifacts": root / "artifacts",
        "folder": root / "trial",
        "objective_metric": "val/accuracy",
        "objective_mode": "max",
        "task_values": TASK | changes.pop("task_values", {}),
        "training": {"epochs": 3} | changes.pop("training", {}),
    }
    return RunRequest(**{**values, **changes})


def started(request: RunRequest, device: torch.device = CPU) -> TrainingSession:
    session = TrainingSession(request, device)
    session.start()
    return session


def to_the_end(session: TrainingSession) -> list[StepReport]:
    reports = [session.step()]
    while not reports[-1].finished:
        reports.append(session.step())
    return reports


def without_clocks(metrics: Any) -> dict[str, float]:
    """The metrics that the seed decides."""
    return {name: value for name, value in metrics.items() if not name.startswith((*CLOCKS, "memory/", "vram/"))}


def register_variant(monkeypatch: pytest.MonkeyPatch, name: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """For one test, an architecture ``name`` that is ``gpt`` changed by ``wrap``."""
    gpt = registry.architectures()["gpt"]
    variant = dataclasses.replace(gpt, name=name, build=lambda model, task: wrap(gpt.build(model, task)))
    monkeypatch.setitem(registry.architectures(), name, variant)


class Intercepted(nn.Module):
    """A module whose hidden states pass through ``change``."""

    def __init__(self, inner: nn.Module, change: Callable[["Intercepted", Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change, self.calls = inner, change, 0
        self.output_head = inner.output_head

    def hidden_states(self, ids: Tensor) -> Tensor:
        self.calls += self.training
        return self.change(self, self.inner.hidden_states(ids))  # type: ignore[operator]
