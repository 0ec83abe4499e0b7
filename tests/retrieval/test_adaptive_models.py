"""``adaptive_knn_lm`` and ``knn_adapter`` with a small base and its datastore: what they equal, and what belongs to them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from retrieval_runs import CPU, MODEL, TASK, started
from torch import Tensor, nn

from trainables.language import Split, TokenBatch
from trainables.tasks._language.corpus_data import CorpusData, windows
from trainables.training.own_state import own_state
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

SPLITS: tuple[Split, ...] = ("val", "test")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the base and all that follows from it are made once for the tests of this file."""
    return tmp_path_factory.mktemp("artifacts")


def session_of(name: str, artifacts: Path, **values: Any) -> TrainingSession:
    return started(artifacts, model={**MODEL, **values}, name=name)


def batches(session: TrainingSession, split: Split) -> list[TokenBatch]:
    assert session.prepared is not None
    return list(windows(CorpusData(session.prepared), split, 32, 32, CPU, 4))


def scores(session: TrainingSession, split: Split) -> Tensor:
    session.module.eval()
    with torch.no_grad():
        parts = [session.module.target_log_probabilities(batch)[batch.scored] for batch in batches(session, split)]
    return torch.cat(parts)


def base_scores(session: TrainingSession, split: Split) -> Tensor:
    parts = [session.module.base_target_log_probabilities(batch)[batch.scored] for batch in batches(session, split)]
    return torch.cat(parts)


@pytest.mark.parametrize("mode", ["buckets", "exponential", "fixed"])
def test_weights_of_zero_are_the_base_bit_for_bit(artifacts: Path, mode: str) -> None:
    session = session_of("adaptive_knn_lm", artifacts, mode=mode, n_buckets=4)
    assert not torch.equal(scores(session, "val"), base_scores(session, "val"))
    for buffer in session.module.weight.buffers():
        buffer.zero_()
    assert all(torch.equal(scores(session, split), base_scores(session, split)) for split in SPLITS)


def test_mode_fixed_is_knn_lm_with_the_weight_that_is_best_on_the_text_of_the_fit(artifacts: Path) -> None:
    fixed = session_of("adaptive_knn_lm", artifacts, mode="fixed")
    best = fixed.module.final_metrics()["adaptive/weight_fixed"]
    assert 0 < best < 0.99

    def plain(weight: float) -> TrainingSession:
        return session_of("knn_lm", artifacts, knn_weight=weight)

    for split in SPLITS:
        torch.testing.assert_close(scores(fixed, split), scores(plain(best), split))
    loss = -scores(plain(best), "fit").double().mean()
    assert all(-scores(plain(other), "fit").double().mean() > loss for other in (best - 0.01, best + 0.01))


def test_one_bucket_is_mode_fixed(artifacts: Path) -> None:
    one, fixed = (session_of("adaptive_knn_lm", artifacts, **values) for values in ({"n_buckets": 1}, {"mode": "fixed"}))
    assert all(torch.equal(scores(one, split), scores(fixed, split)) for split in SPLITS)
    figures = [session.module.final_metrics() for session in (one, fixed)]
    assert all(found.pop("throughput/inference_tokens_per_s") > 0 for found in figures)
    assert figures[0] == figures[1]


def test_the_weight_of_a_position_is_that_of_its_nearest_neighbour(artifacts: Path) -> None:
    session = session_of("adaptive_knn_lm", artifacts, n_buckets=4, min_bucket_count=0)
    weights = []
    for batch in batches(session, "val"):
        found = session.module.neighbors(batch)
        weights.append(session.module.weight(found.distances.min(-1).values))
        plain = (found.distances.neg().softmax(-1) * (found.tokens == batch.targets[batch.scored].unsqueeze(1))).sum(-1)
        mixed = (weights[-1] * plain + (1 - weights[-1]) * found.target_log_probability.exp()).log()
        torch.testing.assert_close(session.module.target_log_probabilities(batch)[batch.scored], mixed)
    metrics = session.step().metrics
    assert metrics["knn/weight_mean"] == pytest.approx(torch.cat(weights).mean().item(), rel=1e-5)
    assert metrics["knn/weight_std"] == pytest.approx(torch.cat(weights).std(correction=0).item(), rel=1e-4)
    assert set(session.module.measured) - set(metrics) == {"retrieval/recall"}


@pytest.mark.parametrize("standardize", [False, True])
def test_an_untrained_adapter_is_knn_lm_with_a_quarter(artifacts: Path, standardize: bool) -> None:
    adapter = session_of("knn_adapter", artifacts, knn_temperature=2.0, standardize=standardize)
    plain = session_of("knn_lm", artifacts, knn_temperature=2.0, knn_weight=0.25)
    for split in SPLITS:
        torch.testing.assert_close(scores(adapter, split), scores(plain, split))


def began(artifacts: Path, **values: Any) -> TrainingSession:
    """A session of the adapter that trains for two epochs."""
    model = {"run": "run", "architecture": "knn_adapter", "task": "language_modeling", "model": {**MODEL, **values}}
    training = {"epochs": 2, "lr": 1e-2, "batch_size": 2}
    session = TrainingSession(RunRequest(**model, task_values=TASK, training=training, artifacts=artifacts), CPU)
    session.start()
    return session


def test_only_the_adapter_is_trained_and_on_held_out_text(artifacts: Path) -> None:
    session = began(artifacts)
    before = {name: value.clone() for name, value in session.module.state_dict().items()}
    assert session.task.examples_per_epoch == 256 // 64
    first, second = session.step().metrics, session.step().metrics
    assert second["train/loss"] < first["train/loss"]
    changed = {name for name, value in session.module.state_dict().items() if not torch.equal(value, before[name])}
    parameters = {f"adapter.{part}.{kind}" for part in ("hidden", "output") for kind in ("weight", "bias")}
    assert changed == parameters
    assert {name for name, parameter in session.module.named_parameters() if parameter.requires_grad} == parameters
    assert set(own_state(session.module)) == parameters | {"adapter.scale.mean", "adapter.scale.deviation"}
    assert second["knn/weight_std"] > 0 and set(session.module.measured) - set(second) == {"retrieval/recall"}


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(artifacts: Path, tmp_path: Path) -> None:
    values = {"dropout": 0.2, "standardize": True}
    whole = began(artifacts, **values)
    whole.step()
    expected = whole.step().metrics
    first = began(artifacts, **values)
    first.step()
    first.save(tmp_path / "checkpoint.pt")
    second = began(artifacts, **values)
    second.load(tmp_path / "checkpoint.pt")
    continued = second.step().metrics
    assert all(continued[name] == expected[name] for name in ("val/loss", "test/loss", "knn/weight_mean"))


@pytest.mark.parametrize("name", ["adaptive_knn_lm", "knn_adapter"])
def test_a_position_depends_on_nothing_behind_it_and_on_no_other_row(artifacts: Path, name: str) -> None:
    session = session_of(name, artifacts)
    (first, *_) = batches(session, "test")
    ids = first.ids.clone()
    ids[0, 20:] = (ids[0, 20:] + 1) % 256
    changed = TokenBatch(ids, first.targets, first.documents, first.positions, first.scored, first.split)
    module: nn.Module = session.module.eval()
    with torch.no_grad():
        before, after = (module.target_log_probabilities(batch) for batch in (first, changed))
    torch.testing.assert_close(after[0, :20], before[0, :20], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after[1:], before[1:], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(after[0, 20:], before[0, 20:])


def test_text_whose_neighbours_are_not_known_gives_gradients_too(artifacts: Path) -> None:
    session = session_of("knn_adapter", artifacts)
    (first, *_) = batches(session, "val")
    of_both = []
    for batch in (first, replace(first, split="train")):  # the same text, not known by that name
        session.module.zero_grad()
        session.module.target_log_probabilities(batch)[batch.scored].mean().backward()
        of_both.append([parameter.grad.clone() for parameter in session.module.adapter.parameters()])
    assert any(gradient.any() for gradient in of_both[1])
    torch.testing.assert_close(of_both[1], of_both[0], rtol=1e-3, atol=1e-5)
