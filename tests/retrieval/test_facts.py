"""On facts that the training text tells once, neighbours help; with the tokens of the store shuffled they do not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from retrieval_runs import BASE, TASK, started

from trainables.registry import architectures
from trainables.retrieval.datastore import KEYS, VALUES
from trainables.retrieval.model import RetrievalLanguageModel
from trainables.training.session import TrainingSession

WEIGHTS = [0.0, 0.05, *(step / 10 for step in range(1, 10))]
MODEL = {
    "base": {**BASE, "dim": 32, "n_layers": 2, "n_heads": 2, "training": {"epochs": 4, "lr": 5e-3}},
    **{"n_neighbors": 64, "knn_temperature": 10.0},
}
LARGER = {**TASK, "input_seq_len": 64, "train_tokens": 24576, "val_tokens": 2048}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> TrainingSession:
    return started(tmp_path_factory.mktemp("artifacts"), model=MODEL, task=LARGER)


def _nats_by_weight(session: TrainingSession, folders: dict[str, Path]) -> dict[float, float]:
    """Mean nats a token of the validation text for each weight of the neighbours."""
    assert session.prepared is not None
    architecture, nats = architectures()["knn_lm"], {}
    task = session.task.configuration
    for weight in WEIGHTS:
        model = architecture.configuration.from_values({**MODEL, "knn_weight": weight})
        module = architecture.build(model, task)
        assert isinstance(module, RetrievalLanguageModel)
        module.attach(folders, session.prepared)
        with torch.inference_mode():
            nats[weight] = session.task.evaluate(module.eval(), 64)["val/loss"]
    return nats


def test_the_best_weight_is_large_and_better_than_the_base(session: TrainingSession) -> None:
    nats = _nats_by_weight(session, dict(session.stages))
    best = min(nats, key=nats.__getitem__)
    assert best >= 0.1 and nats[best] < nats[0.0] - 0.1


def test_a_store_of_shuffled_tokens_is_not_worth_a_weight(session: TrainingSession, tmp_path: Path) -> None:
    store = session.stages["datastore"]
    (tmp_path / KEYS).symlink_to(store / KEYS)
    np.save(tmp_path / VALUES, np.random.default_rng(0).permutation(np.load(store / VALUES)))
    nats = _nats_by_weight(session, {**session.stages, "datastore": tmp_path})
    assert min(nats, key=nats.__getitem__) == 0.0
    assert all(earlier < later for earlier, later in zip(nats.values(), list(nats.values())[1:], strict=False))
