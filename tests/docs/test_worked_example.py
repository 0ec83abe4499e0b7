"""The worked example of ``docs/adding_an_architecture.md`` is held to what every architecture is held to, and trains."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.architecture import Architecture
from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

TASK = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 512, "val_examples": 64}
VARIANTS = [
    {"dim": 16, "n_layers": 1, "width": 5},
    {"dim": 8, "n_layers": 3, "width": 12, "gated": False},
    {"dim": 8, "n_layers": 2, "width": 3, "use_ffn": True},
    {"dim": 8, "n_layers": 2, "width": 3, "use_att": False, "use_ffn": True},
]


def _task(vocab_size: int = 23, input_seq_len: int = 24) -> SimpleNamespace:
    return SimpleNamespace(vocab_size=vocab_size, input_seq_len=input_seq_len)


def _built(example: Architecture, **values: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return example.build(example.configuration.from_values({"dim": 8, "n_layers": 2, "width": 6, **values}), _task())


@pytest.mark.parametrize("values", VARIANTS)
def test_count_equals_the_built_module(example: Architecture, values: dict) -> None:
    model = example.configuration.from_values(values)
    assert example.count(model, _task()).by_scope() == measure_counts(example.build(model, _task())).by_scope()


def test_closed_forms_accept_arrays(example: Architecture) -> None:
    models = [example.configuration.from_values(values) for values in VARIANTS]
    columns = {name: np.array([getattr(model, name) for model in models]) for name in models[0].to_values()}
    together = SimpleNamespace(**columns)
    assert example.count(together, _task()).block.tolist() == [example.count(model, _task()).block for model in models]
    estimates = [example.activation_elements(model, _task()) for model in models]
    assert example.activation_elements(together, _task()).tolist() == estimates


@pytest.mark.parametrize("gated", [True, False])
def test_activation_elements_are_within_a_third_of_what_autograd_keeps(example: Architecture, gated: bool) -> None:
    model = example.configuration.from_values({"gated": gated})
    module, kept = example.build(model, _task(64, 96)), {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(64, (8, 96), generator=torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten())
    assert example.activation_elements(model, _task(64, 96)) == pytest.approx(sum(kept.values()) / 4 / 8, rel=0.33)


def test_later_tokens_change_nothing_earlier(example: Architecture) -> None:
    module = _built(example).double()
    ids = torch.randint(23, (2, 24), generator=torch.Generator().manual_seed(1))
    changed = ids.clone()
    changed[:, 13:] = (ids[:, 13:] + 1) % 23
    before, after = module(ids), module(changed)
    torch.testing.assert_close(after[:, :13], before[:, :13], rtol=0, atol=1e-12)
    assert (after[:, 13:] != before[:, 13:]).any()


def test_the_convolution_equals_the_recurrence(example: Architecture) -> None:
    memory = _built(example).double().blocks[0].att.branch  # type: ignore[index,union-attr]
    values = torch.randn(2, 24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    decay, state, expected = torch.sigmoid(memory.decay_logit), torch.zeros(2, 6, dtype=torch.float64), []
    for value in values.unbind(1):
        state = decay * state + (1 - decay) * value
        expected.append(state)
    torch.testing.assert_close(memory.averages(values), torch.stack(expected, 1), rtol=0, atol=1e-12)


def test_half_lives_are_those_of_the_configuration(example: Architecture) -> None:
    decay = torch.sigmoid(_built(example, shortest=2.0, longest=8.0).blocks[0].att.branch.decay_logit)  # type: ignore[index,union-attr]
    half_lives = math.log(0.5) / torch.log(decay)
    torch.testing.assert_close(half_lives[[0, -1]], torch.tensor([2.0, 8.0]), rtol=1e-4, atol=0)


def test_a_broken_rule_is_refused(example: Architecture) -> None:
    with pytest.raises(ConfigurationError, match="shortest must not exceed longest"):
        example.configuration.from_values({"shortest": 20, "longest": 10})


def test_it_trains(example: Architecture, tmp_path: Path) -> None:
    worker = RunWorker(torch.device("cpu"))
    worker.start(
        RunRequest(
            run="r1",
            architecture="moving_average",
            task="mqar",
            model={"dim": 16, "n_layers": 1, "width": 16},
            task_values=TASK,
            training={"epochs": 3, "lr": 1e-2},
            artifacts=tmp_path,
        )
    )
    payloads = [worker.advance() for _ in range(3)]
    assert payloads[-1]["outcome"] == "completed", payloads[-1]["error"]
    losses = [payload["metrics"]["train/loss"] for payload in payloads]
    assert losses[2] < losses[0] and losses[2] < math.log(64)
    assert payloads[0]["once"]["params/block"] == 16 + 3 * 16 * 16 + 16
