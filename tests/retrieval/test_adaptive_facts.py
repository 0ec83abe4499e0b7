"""On held-out repetitions of facts: weights by distance and the adapter beat the base, and give up on shuffled values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

BASE: dict[str, Any] = {
    **{"architecture": "gpt", "dim": 32, "n_layers": 2, "n_heads": 2, "dk": 16, "dv": 16, "use_ffn": True},
    "training": {"epochs": 4, "lr": 5e-3},
}
TASK: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": 64, "segments": 2},
    **{"train_tokens": 8192, "fit_tokens": 2048, "val_tokens": 512, "test_tokens": 2048},
}
ENTRIES = [
    ("adaptive_knn_lm", {"mode": "fixed"}),
    ("adaptive_knn_lm", {"mode": "buckets", "n_buckets": 16}),
    ("adaptive_knn_lm", {"mode": "exponential"}),
    ("knn_adapter", {}),
]
over_entries = pytest.mark.parametrize(
    ("name", "values"), ENTRIES, ids=[f"{name}-{values.get('mode')}" for name, values in ENTRIES]
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TrainingSession]:
    """Sessions that share one base and its datastore."""
    artifacts = tmp_path_factory.mktemp("artifacts")

    def started(name: str, values: dict[str, Any]) -> TrainingSession:
        training = {"epochs": 0} if name == "adaptive_knn_lm" else {"epochs": 12, "lr": 1e-2}
        model = {"base": BASE, "n_neighbors": 16, **values}
        plain = {"run": "run", "architecture": name, "task": "language_modeling", "artifacts": artifacts}
        session = TrainingSession(RunRequest(**plain, model=model, task_values=TASK, training=training), torch.device("cpu"))
        session.start()
        return session

    return started


def last_metrics(session: TrainingSession) -> dict[str, float]:
    report = session.step()
    while not report.finished:
        report = session.step()
    return dict(report.metrics)


@over_entries
def test_neighbours_are_worth_a_tenth_of_the_perplexity_and_more(
    start: Callable[..., TrainingSession], name: str, values: dict[str, Any]
) -> None:
    metrics = last_metrics(start(name, values))
    assert metrics["test/base_ratio"] < 0.9 and metrics["knn/weight_mean"] > 0.2


def test_the_adapter_beats_one_weight_for_all(start: Callable[..., TrainingSession]) -> None:
    fixed, adapter = (last_metrics(start(name, values))["test/loss"] for name, values in (ENTRIES[0], ENTRIES[-1]))
    assert adapter < fixed - 0.01


@over_entries
def test_neighbours_with_shuffled_values_get_next_to_nothing(
    start: Callable[..., TrainingSession], tmp_path: Path, name: str, values: dict[str, Any]
) -> None:
    session = start(name, values)
    assert session.prepared is not None
    shuffled = tmp_path / "datastore"
    shuffled.mkdir()
    (shuffled / "keys.npy").symlink_to(session.stages["datastore"] / "keys.npy")
    tokens = np.load(session.stages["datastore"] / "values.npy")
    np.save(shuffled / "values.npy", np.random.default_rng(0).permutation(tokens))
    session.module.attach({**session.stages, "datastore": shuffled}, session.prepared)
    metrics = last_metrics(session)
    assert metrics["knn/weight_mean"] < 0.06 and metrics["test/base_ratio"] > 0.97
