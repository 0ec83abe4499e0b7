"""What adapters cost: the published figures, keys against values, and the closed forms against built modules."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_for_backward import elements_kept
from lora_cases import GPT2, LLAMA, NAMES, QWEN2, TASK
from torch.nn import functional

from trainables.counts import ParameterCounts, measure_counts
from trainables.memory import estimated_mib
from trainables.registry import architectures


def configured(name: str, backbone: Any, **values: Any) -> Any:
    return architectures()[name].configuration.from_values({"backbone": backbone, **values})


def counted(name: str, backbone: Any, task: Any = TASK, **values: Any) -> ParameterCounts:
    return architectures()[name].count(configured(name, backbone, **values), task)


@pytest.mark.parametrize(
    ("name", "adapters"),
    [("lora_attn", 4_194_304), ("lora_keys_up", 8_060_928), ("lora_keys_gate", 8_060_928), ("lora_values", 8_060_928)],
)
def test_counts_on_llama_2_7b_are_the_published_ones(name: str, adapters: int) -> None:
    counts = counted(name, "llama-2-7b")
    assert (counts.trainable, counts.frozen) == (adapters, 6_738_415_616)
    assert counts.total == adapters + counts.frozen


def test_the_adapters_of_llama_2_7b_are_those_of_the_module_itself() -> None:
    architecture, model = architectures()["lora_values"], configured("lora_values", "llama-2-7b")
    with torch.device("meta"):
        module = architecture.build(model, TASK)
    assert measure_counts(module) == architecture.count(model, TASK)


def test_the_adapters_of_the_small_stand_in_cost_4096_and_7872() -> None:
    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4}
    small = {"config": {"model_type": "llama", **sizes}}
    costs = {name: counted(name, small).trainable for name in NAMES}
    assert costs == {"lora_attn": 4096, "lora_keys_up": 7872, "lora_keys_gate": 7872, "lora_values": 7872}


@st.composite
def backbones(draw: st.DrawFn) -> dict[str, Any]:
    key_heads, sharing, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2 * draw(st.integers(1, 4))
    heads = key_heads * sharing
    sizes = {
        "model_type": draw(st.sampled_from(["llama", "qwen2"])),
        **{"vocab_size": 257, "hidden_size": heads * width, "intermediate_size": draw(st.integers(1, 40))},
        **{"num_hidden_layers": draw(st.integers(1, 3)), "num_attention_heads": heads, "num_key_value_heads": key_heads},
        "tie_word_embeddings": draw(st.booleans()),
    }
    return {"config": sizes}


@settings(max_examples=30, deadline=None)
@given(backbone=backbones(), rank=st.integers(1, 9))
def test_keys_and_values_cost_the_same_and_as_much_as_the_built_module_has(backbone: dict[str, Any], rank: int) -> None:
    costs = [counted(name, backbone, lora_r=rank) for name in NAMES]
    assert costs[1] == costs[2] == costs[3]
    sizes = backbone["config"]
    inner = rank * (sizes["hidden_size"] + sizes["intermediate_size"]) * sizes["num_hidden_layers"]
    assert costs[1].trainable == costs[0].trainable + inner
    for name in ("lora_attn", "lora_values"):
        with torch.device("meta"):
            module = architectures()[name].build(configured(name, backbone, lora_r=rank), TASK)
        assert measure_counts(module) == counted(name, backbone, lora_r=rank)


def test_columns_of_every_field_give_what_single_values_give() -> None:
    rows = [(LLAMA, None, 2), (QWEN2, ["up_proj"], 3), (GPT2, ["c_attn", "mlp.c_proj"], 5), (LLAMA, ["q_proj", "o_proj"], 7)]
    backbone, targets, ranks = (_objects([row[place] for row in rows]) for place in range(3))
    together = SimpleNamespace(backbone=backbone, target_modules=targets, lora_r=ranks.astype(int), dropout=0.1, quantize=None)
    architecture = architectures()["lora_values"]
    single = [configured("lora_values", one, target_modules=named, lora_r=rank) for one, named, rank in rows]
    found = architecture.count(together, TASK)
    assert found.trainable.tolist() == [architecture.count(model, TASK).trainable for model in single]
    assert found.total.tolist() == [architecture.count(model, TASK).total for model in single]
    kept = [architecture.activation_elements(model, TASK) for model in single]
    assert architecture.activation_elements(together, TASK).tolist() == kept
    assert all(np.all(rule.holds(together, TASK)) for rule in architecture.pair_rules)
    together.target_modules = _objects([["up_proj"], ["c_attn"], None, None])
    assert architecture.pair_rules[1].holds(together, TASK).tolist() == [True, False, False, True]


def test_a_list_of_columns_is_a_list_in_each_row() -> None:
    architecture = architectures()["lora_attn"]
    model = SimpleNamespace(backbone=LLAMA, target_modules=[np.array(["q_proj", "up_proj"]), "v_proj"], lora_r=4, quantize=None)
    expected = [
        counted("lora_attn", LLAMA, target_modules=[first, "v_proj"], lora_r=4).trainable for first in ("q_proj", "up_proj")
    ]
    assert architecture.count(model, TASK).trainable.tolist() == expected


def _objects(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


WIDE = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 3, "num_attention_heads": 4}
WITHOUT_DROPOUT = {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}
WIDER = {
    "llama": {"model_type": "llama", **WIDE},
    "qwen2": {"model_type": "qwen2", **WIDE, "num_key_value_heads": 2},
    "gpt2": {"model_type": "gpt2", "vocab_size": 64, "n_embd": 64, "n_layer": 3, "n_head": 4, **WITHOUT_DROPOUT},
}


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(
    ("name", "backbone", "targets"),
    [
        ("lora_attn", "llama", None),
        ("lora_keys_up", "qwen2", None),
        ("lora_values", "llama", None),
        ("lora_attn", "gpt2", ["c_attn", "c_proj"]),
    ],
)
def test_activation_elements_are_what_autograd_keeps(name: str, backbone: str, targets: Any, dropout: float) -> None:
    architecture, task = architectures()[name], SimpleNamespace(vocab_size=64, input_seq_len=96)
    model = configured(name, {"config": WIDER[backbone]}, dropout=dropout, target_modules=targets)
    kept = _kept_per_example(architecture.build(model, task).train(), torch.randint(64, (4, 96)))
    assert architecture.activation_elements(model, task) == pytest.approx(kept, rel=0.15)


def _kept_per_example(module: torch.nn.Module, inputs: torch.Tensor) -> float:
    return elements_kept(module, lambda: functional.cross_entropy(module(inputs).flatten(0, 1), inputs.flatten())) / len(inputs)


def test_training_adapters_is_expected_to_need_less_memory_than_training_the_backbone() -> None:
    whole, adapted = architectures()["causal_lm"], architectures()["lora_values"]
    model, task = configured("lora_values", "llama-2-7b"), SimpleNamespace(vocab_size=32000, input_seq_len=512)
    mib = [
        estimated_mib(one.count(model, task), one.activation_elements(model, task), 1, training=True) for one in (whole, adapted)
    ]
    assert mib[1] < mib[0] / 3
