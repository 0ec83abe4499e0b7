"""The closed forms of what is kept: for the backward pass against what autograd keeps, and between tokens by arithmetic."""

from types import SimpleNamespace

import pytest
import torch
from kept_for_backward import elements_kept
from random_configurations import token_task
from torch.nn import functional

from trainables.registry import architectures

OPTIONS = [
    *[("gpt", values) for values in ({}, {"use_ffn": True}, {"dk": 16, "dv": 32}, {"q_gated": True, "residual_mul": True})],
    *[("unified_kv", values) for values in ({}, {"pos": "none"}, {"k_norm": "l2", "att_use_output_gate": True})],
    *[("delta_net", values) for values in ({}, {"use_short_conv": False}, {"chunk_size": 32}, {"chunk_size": 500})],
    ("delta_net", {"delta_rule_backend": "recurrent"}),
]


@pytest.mark.parametrize(("name", "values"), OPTIONS)
def test_activation_elements_are_within_a_third_of_what_autograd_keeps(name: str, values: dict) -> None:
    architecture, task = architectures()[name], token_task(64, 96)
    model = architecture.configuration.from_values(values)
    kept = _kept_per_example(architecture.build(model, task), torch.randint(64, (4, 96)))
    assert architecture.activation_elements(model, task) == pytest.approx(kept, rel=0.33)


def _kept_per_example(module: torch.nn.Module, ids: torch.Tensor) -> float:
    return elements_kept(module, lambda: functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten())) / len(ids)


def test_only_labelled_positions_need_log_probabilities() -> None:
    gpt = architectures()["gpt"]
    model, everywhere = gpt.configuration.from_values({}), token_task(2048, 128)
    labelled = SimpleNamespace(**vars(everywhere), num_kv_pairs=32)
    assert gpt.activation_elements(model, everywhere) - gpt.activation_elements(model, labelled) == 96 * 2048


def _state(name: str, length: int, **values: object) -> int:
    architecture = architectures()[name]
    return architecture.build.state_elements(architecture.configuration.from_values(values), token_task(2048, length))


def test_unified_keys_and_values_save_a_third_of_the_cache_at_equal_parameters() -> None:
    assert _state("gpt", 128) == 128 * 4 * 192
    assert 3 * _state("unified_kv", 128) == 2 * _state("gpt", 128)


def test_the_memory_of_delta_net_does_not_grow_with_the_sequence() -> None:
    assert _state("delta_net", 128, use_short_conv=False) == 4 * 4608
    assert _state("delta_net", 128) == _state("delta_net", 4096) == 4 * (4608 + 3 * 288)
