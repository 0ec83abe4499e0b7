"""What a measurement does and tells, in this process."""

import dataclasses
import json
import math

import pytest
import torch
from footprint_requests import CONFIG, footprint_request, typed
from torch import Tensor

from trainables.footprint.child import answer
from trainables.footprint.measurement import measure
from trainables.footprint.modes import work_of
from trainables.footprint.request import FootprintRequest
from trainables.memory import MIB
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.registry import architectures

INFERENCE, TRAINING = "throughput/inference_tokens_per_s", "throughput/tokens_per_s"


@pytest.mark.parametrize("name", ["gpt", "causal_lm", "memo_gpt"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_elements_times_their_size(name: str, dtype: str) -> None:
    metrics = measure(footprint_request(name, dtype=dtype, n_tokens=32), lambda: None)
    architecture, model, task = typed(name)
    size = {"float32": 4, "bfloat16": 2, "float16": 2}[dtype]
    # Rotations are in float32 whatever the precision: a few numbers beside the weights.
    assert metrics["memory/weights_mib"] * MIB == pytest.approx(size * int(architecture.count(model, task).total), abs=64)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", ["gpt", "causal_lm", "memo_gpt"])
@pytest.mark.parametrize("mode", ["infer_no_cache", "infer_kv_cache", "train_step"])
def test_a_measurement_tells_the_memory_of_the_host_and_the_speed_of_its_mode(name: str, mode: str) -> None:
    if (name, mode) == ("gpt", "infer_kv_cache"):
        pytest.skip("it keeps no cache")
    metrics = measure(footprint_request(name, mode=mode, repeats=2), lambda: None)
    memory = {"memory/weights_mib", "memory/peak_host_mib", "memory/baseline_host_mib"}
    assert set(metrics) == memory | {TRAINING if mode == "train_step" else INFERENCE}
    assert all(math.isfinite(value) and value > 0 for value in metrics.values())


def test_it_repeats_as_often_as_asked_after_warming_up_and_tells_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([256, 16, 64, 32])  # MiB: while warming up, and in three repeats

    class Holding(PretrainedLanguageModel):
        def hidden_states(self, ids: Tensor) -> Tensor:
            touched = torch.ones(next(held) * MIB // 4)
            states: Tensor = super().hidden_states(ids) + 0 * touched[0]
            return states

    holding = dataclasses.replace(architectures()["causal_lm"], build=lambda model, task: Holding(CONFIG))
    monkeypatch.setitem(architectures(), "causal_lm", holding)
    metrics = measure(footprint_request("causal_lm", repeats=3), lambda: None)
    assert next(held, None) is None
    assert metrics["memory/peak_host_mib"] - metrics["memory/baseline_host_mib"] == pytest.approx(64, abs=24)


def test_every_call_of_torch_while_building_and_every_forward_is_a_sign_of_life() -> None:
    beats: list[int] = []
    measure(footprint_request("causal_lm"), lambda: beats.append(1))
    assert len(beats) > 50


def test_with_a_cache_keys_and_values_of_all_layers_are_alive_beside_the_logits() -> None:
    module = PretrainedLanguageModel(CONFIG)
    ids = torch.randint(64, (2, 24))
    logits, cache = work_of("infer_kv_cache", module, ids, lambda: None)()
    assert logits.shape == (2, 24, 64)
    assert [tuple(layer.keys.shape) for layer in cache.layers] == [(2, 2, 24, 8)] * 2
    assert torch.equal(logits, work_of("infer_no_cache", module, ids, lambda: None)())


def test_a_step_of_training_keeps_gradients_and_moments_and_changes_the_weights() -> None:
    module = PretrainedLanguageModel(CONFIG)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    step = work_of("train_step", module, torch.randint(64, (2, 24)), lambda: None)
    step()
    first = [parameter.grad for parameter in module.parameters()]
    step()
    assert all(parameter.grad is grad is not None for parameter, grad in zip(module.parameters(), first, strict=True))
    assert not any(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def test_a_model_that_keeps_no_cache_says_so() -> None:
    with pytest.raises(ValueError, match="a Gpt keeps no cache: measure it with mode infer_no_cache"):
        measure(footprint_request("gpt", mode="infer_kv_cache"), lambda: None)


def test_a_lack_of_memory_is_told_as_one() -> None:
    told = answer(footprint_request("gpt", n_tokens=2**40), lambda: None)
    assert told["out_of_memory"] is True
    assert "memory" in told["error"]["message"]


def test_any_other_fault_is_told_with_its_traceback() -> None:
    told = answer(footprint_request("gpt", mode="infer_kv_cache"), lambda: None)
    assert told["out_of_memory"] is False
    assert told["error"]["type"] == "ValueError" and "work_of" in told["error"]["traceback"]


def test_a_request_survives_its_way_as_json() -> None:
    request = footprint_request("memo_gpt", mode="train_step", batch_size=3)
    assert FootprintRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    assert str(request) == "memo_gpt, train_step of 3 × 64 tokens in float32 on cpu"
