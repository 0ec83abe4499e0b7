"""The expected memory by arithmetic: published figures, how it grows, and against what autograd keeps."""

from typing import Any

import pytest
import torch
from footprint_requests import CONFIG, MEMORY, typed
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_for_backward import elements_kept

from trainables.footprint.estimate import estimated_mib, held_elements
from trainables.footprint.modes import work_of
from trainables.memory import MIB
from trainables.pretrained.activations import activation_elements, cache_elements
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.shapes import SHAPES
from trainables.pretrained.sizes import model_sizes
from trainables.registry import architectures

GPT2 = {"model_type": "gpt2", "vocab_size": 64, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 512}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MODES = ("infer_no_cache", "infer_kv_cache", "train_step")


def estimated(architecture: str, model: dict[str, Any] | None = None, **task: Any) -> float:
    return estimated_mib(*typed(architecture, model, **task))


@pytest.mark.parametrize(("shape", "floor"), [("gpt2-medium", 1353.5), ("gpt2-large", 2952.7), ("llama-3.1-8b", 30633.0)])
def test_the_weights_alone_are_the_published_floors(shape: str, floor: float) -> None:
    architecture, model, task = typed("causal_lm", {"backbone": shape})
    assert int(architecture.count(model, task).total) * 4 / MIB == pytest.approx(floor, abs=0.05)
    assert estimated("causal_lm", {"backbone": shape}) > floor


@pytest.mark.parametrize(("shape", "size"), [("gpt2-medium", 196_608), ("gpt2-large", 368_640), ("llama-3.1-8b", 262_144)])
def test_a_token_has_so_many_bytes_of_keys_and_values(shape: str, size: int) -> None:
    assert 4 * cache_elements(model_sizes(SHAPES[shape]), 1) == size
    grown = [estimated("causal_lm", {"backbone": shape}, n_tokens=512, mode=mode) for mode in MODES[:2]]
    assert (grown[1] - grown[0]) * MIB == pytest.approx(512 * size)


@pytest.mark.parametrize("name", ["gpt", "causal_lm", "memo_gpt"])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_more_tokens_never_need_less(name: str, mode: str, data: st.DataObject) -> None:
    lengths = sorted(data.draw(st.lists(st.integers(16, 30_000), min_size=2, max_size=5)))
    found = [estimated(name, mode=mode, n_tokens=length) for length in lengths]
    assert found == sorted(found)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 30_000), batch=st.integers(1, 8))
def test_a_cache_grows_by_the_same_for_each_token(length: int, batch: int) -> None:
    architecture, model, task = typed("causal_lm", n_tokens=length, batch_size=batch, mode="infer_kv_cache")
    assert held_elements(architecture, model, task) == 2 * 2 * 2 * 8 * length


def test_half_precision_needs_half() -> None:
    whole, *halves = (estimated("causal_lm", dtype=dtype) for dtype in ("float32", "bfloat16", "float16"))
    assert halves == pytest.approx([whole / 2, whole / 2])


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_memory_in_place_of_what_was_read_flattens(mode: str) -> None:
    """Up to the capacity snapshots come; beyond it nothing grows, while a plain model doubles."""
    capacity = MEMORY["ltm_capacity"] * MEMORY["memory_block"] + MEMORY["input_block"]
    found = [estimated("memo_gpt", mode=mode, n_tokens=length) for length in (16, capacity, 1024, 16_384)]
    assert found[0] < found[1] == found[2] == found[3]
    plain = [estimated("causal_lm", mode=mode, n_tokens=length) for length in (8192, 16_384)]
    weights = 4 * int(architectures()["causal_lm"].count(*typed("causal_lm")[1:]).stored) / MIB
    assert plain[1] - weights == pytest.approx(2 * (plain[0] - weights))


@pytest.mark.parametrize(
    "config",
    [CONFIG, {**CONFIG, "model_type": "llama", "num_key_value_heads": 4}, {**GPT2, **NO_DROPOUT}],
    ids=["qwen2", "llama", "gpt2"],
)
def test_activation_elements_are_what_autograd_keeps(config: dict[str, Any]) -> None:
    module = PretrainedLanguageModel(config)
    ids = torch.randint(64, (1, 128))
    held = elements_kept(module, work_of("train_step", module, ids, lambda: None))
    gradient_of_logits = 128 * 64
    assert activation_elements(module.sizes, 128) == pytest.approx(held + gradient_of_logits, rel=0.002)
