"""Counts, memory state and rules of ``memo_gpt`` in closed form, for columns too."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_models import FOUND, SMALL, backbone, build, configuration, ids, task

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.pretrained.implicit_memory.configuration import first_token
from trainables.pretrained.shapes import SHAPES

DUAL = {"qwen2-0.5b": 313_807_872, "qwen2-1.5b": 1_156_098_048, "qwen2-7b": 5_703_305_216}
TOTAL = {"qwen2-0.5b": 494_032_768, "qwen2-1.5b": 1_543_714_304, "qwen2-7b": 7_615_616_512}


def of_shape(shape: str, **values: Any) -> Any:
    return FOUND.configuration.from_values({"backbone": shape, **values})


@pytest.mark.parametrize("shape", DUAL)
def test_the_memory_is_free_and_the_second_feed_forward_layers_cost_what_is_published(shape: str) -> None:
    text = SimpleNamespace(vocab_size=SHAPES[shape]["vocab_size"], input_seq_len=512)
    plain, dual = (FOUND.count(of_shape(shape, dual_ffn=flag), text) for flag in (False, True))
    assert plain.total == plain.trainable == TOTAL[shape]
    assert dual.total - plain.total == dual.block - plain.block == dual.frozen == DUAL[shape]


def test_the_counts_of_a_published_shape_are_those_of_the_module() -> None:
    text = SimpleNamespace(vocab_size=151_936, input_seq_len=512)
    with torch.device("meta"):
        module = FOUND.build(of_shape("qwen2-0.5b", dual_ffn=True), text)
    assert FOUND.count(of_shape("qwen2-0.5b", dual_ffn=True), text) == measure_counts(module)


@pytest.mark.parametrize("described", [backbone("qwen2"), backbone("llama", mlp_bias=True, attention_bias=True)])
@pytest.mark.parametrize("dual", [False, True])
def test_the_counts_of_a_small_model_are_those_of_the_module(described: dict[str, Any], dual: bool) -> None:
    model = configuration(backbone=described, dual_ffn=dual)
    with torch.device("meta"):
        module = FOUND.build(model, task())
    assert FOUND.count(model, task()) == measure_counts(module)


@given(
    length=st.integers(8, 60),
    rows=st.integers(1, 4),
    capacity=st.integers(1, 12),
    blocks=st.sampled_from([(8, 4), (8, 8), (6, 1)]),
)
@settings(max_examples=15, deadline=None)
def test_the_state_is_what_a_memory_holds_at_the_end(length: int, rows: int, capacity: int, blocks: tuple[int, int]) -> None:
    values = {"short_term_memory": rows, "ltm_capacity": capacity, "input_block": blocks[0], "memory_block": blocks[1]}
    module = build(**values)
    with torch.no_grad():
        memory = module.new_memory(1)
        list(module.chunks(ids(1, length), memory))
    assert module.state_elements(configuration(**values), task(length)) == memory.elements


def stacked(models: list[Any]) -> SimpleNamespace:
    columns = {name: [getattr(model, name) for model in models] for name in vars(models[0])}
    found = {name: np.array(values) for name, values in columns.items() if name != "backbone"}
    found["backbone"] = np.empty(len(models), dtype=object)
    found["backbone"][:] = columns["backbone"]
    return SimpleNamespace(**found)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"dual_ffn": True, "short_term_memory": 501},
    {"recompute": True, "ltm_visible_to_input": "none"},
    {"ltm_visible_to_input": "last_n", "visible_snapshots": 3, "ltm_capacity": 2, "input_block": 40},
    {"backbone": backbone("llama"), "input_block": 41},
    {"backbone": {"config": {"model_type": "gpt_neox", "vocab_size": 53, "hidden_size": 32, "num_attention_heads": 4}}},
    {"backbone": "gpt2-medium", "recompute": True},
    {"backbone": backbone("llama", head_dim=16)},
    {"backbone": backbone("qwen2", vocab_size=40)},
    {"input_block": 4, "memory_block": 4, "ltm_capacity": 1},
]


@pytest.mark.parametrize("closed_form", [FOUND.count, FOUND.activation_elements, FOUND.build.state_elements])
@pytest.mark.parametrize("of_task", [task(), SimpleNamespace(vocab_size=53, input_seq_len=10, segments=4, eval_segments=5)])
def test_closed_forms_are_the_same_for_columns(closed_form: Any, of_task: SimpleNamespace) -> None:
    models = [configuration(**values) for values in VARIANTS]
    together, alone = closed_form(stacked(models), of_task), [closed_form(model, of_task) for model in models]
    if closed_form is FOUND.count:
        for scope, counted in together.by_scope().items():
            assert np.broadcast_to(counted, len(models)).tolist() == [one.by_scope()[scope] for one in alone]
    else:
        assert np.broadcast_to(together, len(models)).tolist() == alone


def test_rules_are_the_same_for_columns_and_inspection_agrees_with_them() -> None:
    models = [configuration(**values) for values in VARIANTS]
    held = []
    for rule in FOUND.pair_rules:
        together = np.broadcast_to(rule.holds(stacked(models), task()), len(models)).tolist()
        assert together == [bool(rule.holds(model, task())) for model in models]
        held.append(together)
    for model, fits in zip(models, np.array(held).all(axis=0), strict=True):
        if fits:
            FOUND.inspect(model, task())
        else:
            with pytest.raises(ConfigurationError):
                FOUND.inspect(model, task())
    assert np.array(held).all(axis=0).tolist() == [True, False, True, True, False, False, False, False, False, True]


def refusal(of_task: SimpleNamespace, **values: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        FOUND.inspect(configuration(**values), of_task)
    return str(raised.value)


def test_what_does_not_fit_is_named_with_its_cure() -> None:
    gpt2 = {"config": {"model_type": "gpt2", "vocab_size": 53, "n_embd": 32, "n_layer": 1, "n_head": 2}}
    assert "a gpt2 has no layers that this memory knows: take a llama or a qwen2" in refusal(task(), backbone=gpt2)
    assert "heads * head_dim = hidden_size" in refusal(task(), backbone=backbone("llama", head_dim=16))
    assert "eos_token_id 53 is none of its 53 tokens" in refusal(task(), backbone=backbone("llama", eos_token_id=53))
    assert "reaches over 513 positions, and the backbone has 512" in refusal(task(), short_term_memory=501)
    assert "a sequence of the task has 7 tokens, so it would never write the memory" in refusal(task(7))
    assert "use the tokenizer of the model" in refusal(SimpleNamespace(vocab_size=99, input_seq_len=40))


def test_a_stretch_of_several_windows_is_one_sequence() -> None:
    fitting = SimpleNamespace(vocab_size=53, input_seq_len=4, segments=2, eval_segments=3)
    FOUND.inspect(configuration(), fitting)
    assert "has 4 tokens" in refusal(SimpleNamespace(vocab_size=53, input_seq_len=4, segments=2, eval_segments=1))
    assert "has 7 tokens" in refusal(SimpleNamespace(vocab_size=53, train_length=7, val_length=16))


def test_a_memory_block_beyond_the_input_block_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="memory_block must be at most input_block, or tokens would leave the window"):
        FOUND.configuration.from_values({**SMALL, "memory_block": 9})


@pytest.mark.parametrize(("ends", "expected"), [(7, 7), ([5, 6], 5), (None, 52)])
def test_the_first_memory_is_made_of_the_end_of_a_text(ends: Any, expected: int) -> None:
    assert first_token(backbone("llama", eos_token_id=ends)["config"]) == expected
