"""Requests: across processes and files, and what their fingerprint sees."""

import json
from pathlib import Path

import pytest
from small_runs import small_request

from trainables.configuration import ConfigurationError
from trainables.training.request import RunRequest


def test_a_request_survives_json(tmp_path: Path) -> None:
    others = {"folder": None, "objective_metric": None, "other_objectives": ("val/loss",), "checkpoint_seconds": 1.5}
    for request in (small_request(tmp_path), small_request(tmp_path, **others)):
        again = RunRequest.from_dict(json.loads(json.dumps(request.to_dict())))
        assert again == request and again.fingerprint() == request.fingerprint()


def test_the_fingerprint_does_not_see_seed_names_folders_or_the_way_of_writing(tmp_path: Path) -> None:
    request = small_request(tmp_path)
    same = [
        small_request(tmp_path / "x", seed=9, run="r2", folder=None, keep_checkpoints="best", objective_metric=None),
        small_request(tmp_path, checkpoint_seconds=0.0, other_objectives=("val/loss",)),
        small_request(tmp_path, training={"lr": 1e-3, "clip_grad": 1, "weight_decay": 0.1}),
        small_request(tmp_path, model={**request.model, "dim": 16.0, "use_ffn": False}),
    ]
    assert {other.fingerprint() for other in same} == {request.fingerprint()}
    assert len(request.fingerprint()) == 16 and int(request.fingerprint(), 16) >= 0


def test_the_fingerprint_sees_every_value(tmp_path: Path) -> None:
    requests = [
        small_request(tmp_path),
        small_request(tmp_path, training={"lr": 1.0000000000000002e-3}),
        small_request(tmp_path, task_values={"seed": 1}),
        small_request(tmp_path, model={"dim": 32}),
        small_request(tmp_path, architecture="unified_kv"),
    ]
    assert len({request.fingerprint() for request in requests}) == len(requests)


def test_the_fingerprint_is_the_same_in_every_version(tmp_path: Path) -> None:
    values = small_request(tmp_path).resolved().identity_values()
    assert values["training"]["lr_gamma"] == 0.95 and values["task_values"]["power_a"] == 0.01
    assert list(values) == ["architecture", "model", "task", "task_values", "training"]


def test_what_cannot_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no architecture 'gtp'; there are: "):
        small_request(tmp_path, architecture="gtp").resolved()
    with pytest.raises(LookupError, match="no task 'mqr'"):
        small_request(tmp_path, task="mqr").resolved()
    with pytest.raises(ConfigurationError, match="wheels"):
        small_request(tmp_path, model={"wheels": 4}).resolved()
    with pytest.raises(ConfigurationError, match="lower num_kv_pairs"):
        small_request(tmp_path, task_values={"num_kv_pairs": 9}).resolved()
