"""A frozen base with the neighbours of its training text: equalities at the ends, causality, what is found once and what anew."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.architectures.knn_lm import KnnLm
from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.language import LanguageModule, TokenBatch, target_log_probabilities
from trainables.registry import architectures
from trainables.retrieval.base import base_counts
from trainables.retrieval.mixing import knn_target_probability, neighbor_weights
from trainables.tasks._language.corpus_data import CorpusData, windows
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

CPU = torch.device("cpu")
BASE = {
    **{"architecture": "gpt", "dim": 16, "n_layers": 2, "n_heads": 1, "dk": 16, "dv": 16, "use_ffn": True},
    "training": {"epochs": 1, "lr": 3e-3},
}
MODEL: dict[str, Any] = {"base": BASE, "n_neighbors": 8, "knn_temperature": 10.0}
TASK: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": 32, "segments": 2, "eval_stride": 8},
    **{"train_tokens": 2048, "fit_tokens": 256, "val_tokens": 300, "test_tokens": 256},
}


def _request(artifacts: Path, **model: Any) -> RunRequest:
    values = {"architecture": "knn_lm", "task": "language_modeling", "model": {**MODEL, **model}, "task_values": TASK}
    return RunRequest(run="run", training={"epochs": 0, "eval_batch_size": 8}, artifacts=artifacts, **values)


def _session(artifacts: Path, **model: Any) -> TrainingSession:
    session = TrainingSession(_request(artifacts, **model), CPU)
    session.start()
    return session


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


def _module(artifacts: Path, **model: Any) -> KnnLm:
    module = _session(artifacts, **model).module
    assert isinstance(module, KnnLm)
    return module.eval()


def _batches(artifacts: Path, split: str = "test", rows: int = 8) -> list[TokenBatch]:
    (folder,) = artifacts.glob("language_modeling-*")
    return list(windows(CorpusData(folder), split, 32, 8, CPU, rows))


def _scored(module: KnnLm, batches: list[TokenBatch]) -> Tensor:
    return torch.cat([target_log_probabilities(module, batch)[batch.scored] for batch in batches])


@pytest.mark.parametrize("split", ["val", "test", "train"])  # of train no neighbours were found before
def test_without_a_weight_it_is_the_base_bit_for_bit(artifacts: Path, split: str) -> None:
    module = _module(artifacts, knn_weight=0.0)
    for batch in _batches(artifacts, split):
        mixed, alone = target_log_probabilities(module, batch), module.base_target_log_probabilities(batch)
        assert torch.equal(mixed[batch.scored], alone[batch.scored])
        of_base = target_log_probabilities(module.base, batch)
        torch.testing.assert_close(alone[batch.scored], of_base[batch.scored])
        assert split != "train" or torch.equal(alone, of_base)


def test_with_the_whole_weight_it_is_the_neighbours_alone(artifacts: Path) -> None:
    module = _module(artifacts, knn_weight=1.0)
    (batch, *_) = _batches(artifacts)
    found = module.neighbors(batch)
    targets = batch.targets[batch.scored]
    expected = knn_target_probability(neighbor_weights(found.distances, 10.0), found.tokens, targets)
    mixed = target_log_probabilities(module, batch)[batch.scored]
    torch.testing.assert_close(mixed.exp(), expected)
    assert mixed.min() == -1e4 and (expected == 0).any()


def test_probabilities_of_all_tokens_sum_to_one(artifacts: Path) -> None:
    module = _module(artifacts, knn_weight=0.4)
    (batch, *_) = _batches(artifacts, rows=2)
    every = [module.target_log_probabilities(replace(batch, targets=torch.full_like(batch.ids, token))) for token in range(257)]
    total = torch.stack(every).double().exp().sum(0)[batch.scored]
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def test_what_was_found_once_is_what_is_found_anew(artifacts: Path) -> None:
    module = _module(artifacts)
    known = _batches(artifacts, "val")
    anew = [replace(batch, split="test") for batch in known]
    torch.testing.assert_close(_scored(module, known), _scored(module, anew), rtol=0, atol=1e-5)


def test_the_whole_test_text_is_scored_and_a_part_of_it_read_anew(artifacts: Path) -> None:
    session = _session(artifacts)
    assert isinstance(session.module, KnnLm)
    metrics = session.step().metrics
    nats = -_scored(session.module, [replace(batch, split="train") for batch in _batches(artifacts)])
    assert len(nats) == TASK["test_tokens"] and metrics["test/loss"] == pytest.approx(nats.mean().item(), rel=1e-4)
    assert metrics["throughput/inference_tokens_per_s"] > 0


def test_neighbours_found_before_that_are_not_those_found_now_are_refused(artifacts: Path, tmp_path: Path) -> None:
    session = _session(artifacts, knn_weight=0.9)
    assert session.prepared is not None
    shutil.copytree(session.stages["neighbors-test"], tmp_path / "wrong")
    wrong = np.load(tmp_path / "wrong" / "indices.npy")
    np.save(tmp_path / "wrong" / "indices.npy", (wrong + 1) % TASK["train_tokens"])
    session.module.attach({**session.stages, "neighbors-test": tmp_path / "wrong"}, session.prepared)  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="made again"):
        session.step()


@pytest.mark.parametrize("part", ["ids", "targets"])
def test_what_was_found_for_a_text_is_not_used_for_another(artifacts: Path, part: str) -> None:
    module = _module(artifacts)
    (batch, *_) = _batches(artifacts)
    other = replace(batch, **{part: (getattr(batch, part) + 1) % 257})
    expected = target_log_probabilities(module, replace(other, split="train"))
    assert torch.equal(target_log_probabilities(module, other), expected)
    assert not torch.equal(expected, target_log_probabilities(module, batch))


def test_a_context_of_the_training_text_finds_its_own_continuation(artifacts: Path) -> None:
    module = _module(artifacts, n_neighbors=1, knn_weight=1.0)
    (folder,) = artifacts.glob("language_modeling-*")
    in_store = windows(CorpusData(folder), "train", 32, 16, CPU, 64)  # the windows that the keys are from
    hits = torch.cat([target_log_probabilities(module, batch)[batch.scored] == 0 for batch in in_store])
    assert hits.float().mean() > 0.99


def test_later_tokens_change_nothing_earlier(artifacts: Path) -> None:
    module = _module(artifacts)
    (batch, *_) = _batches(artifacts, rows=1)
    batch = replace(batch, scored=torch.ones_like(batch.scored))
    changed = batch.ids.clone()
    changed[:, 20:] = 7
    before, after = (target_log_probabilities(module, replace(batch, ids=ids)) for ids in (batch.ids, changed))
    torch.testing.assert_close(before[:, :20], after[:, :20], rtol=0, atol=1e-6)
    assert (before[:, 20:] - after[:, 20:]).abs().max() > 1e-3


@pytest.mark.parametrize("split", ["val", "test"])
def test_rows_of_a_batch_do_not_know_each_other(artifacts: Path, split: str) -> None:
    module = _module(artifacts)
    together, alone = (_scored(module, _batches(artifacts, split, rows)) for rows in (16, 1))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_no_parameter_is_trained_and_the_store_counts_outside(artifacts: Path) -> None:
    session = _session(artifacts)
    counts = measure_counts(session.module)
    assert counts.trainable == 0 and counts.total == counts.frozen > 0
    assert counts.external == 2048 * 17
    base = base_counts(BASE, session.task.configuration)
    assert (counts.block, counts.embedding, counts.other) == (base.block, base.embedding, base.other)


def test_a_run_is_the_same_whoever_made_its_stages_and_a_checkpoint_brings_it_back(artifacts: Path, tmp_path: Path) -> None:
    session, elsewhere = _session(artifacts), _session(tmp_path)
    report = session.step()
    assert report.finished and report.metrics["val/loss"] == pytest.approx(elsewhere.step().metrics["val/loss"], abs=1e-6)
    assert {"datastore/mib", "test/perplexity", "val/base_perplexity"} <= set(report.metrics)
    assert report.metrics["datastore/mib"] == pytest.approx((2048 * 16 * 2 + 2048 * 4) / 2**20)
    session.save(tmp_path / "checkpoint.pt")
    again = _session(artifacts)
    again.load(tmp_path / "checkpoint.pt")
    assert again.report_again().metrics == report.metrics
    weights = zip(again.module.state_dict().values(), session.module.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_a_store_with_too_few_entries_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="n_neighbors is larger than the datastore"):
        _request(tmp_path, n_neighbors=2049).resolved()
    with pytest.raises(ConfigurationError, match="code_size must divide"):
        _request(tmp_path, code_size=5).resolved()


def test_without_its_stages_it_says_what_is_missing() -> None:
    architecture = architectures()["knn_lm"]
    task = TrainingSession(_request(Path()), CPU).request.resolved().task
    module = architecture.build(architecture.configuration.from_values(MODEL), task)
    assert isinstance(module, LanguageModule)
    zeros = torch.zeros(1, 4, dtype=torch.int64)
    batch = TokenBatch(zeros, zeros, zeros, zeros, zeros == 0, "test")
    with pytest.raises(RuntimeError, match="attach it"):
        target_log_probabilities(module, batch)
