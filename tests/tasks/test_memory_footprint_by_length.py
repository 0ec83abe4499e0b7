"""The point of the task, in real processes: a plain model's memory grows with the sequence, that of memo_gpt flattens."""

import itertools
from typing import Any

import pytest

from trainables.footprint.process import measure_in_process
from trainables.footprint.request import FootprintRequest
from trainables.memory import MIB
from trainables.registry import architectures, tasks

CONFIG = {
    **{"model_type": "qwen2", "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}
BACKBONE: dict[str, Any] = {"backbone": {"config": CONFIG}}
MEMORY = {**BACKBONE, "short_term_memory": 32, "input_block": 128, "memory_block": 128, "ltm_capacity": 32}
SMALL_CHANGE = 0.05


def grown_mib(architecture: str, values: dict[str, Any], n_tokens: int) -> float:
    """The peak of a process above what it took before it had a model."""
    model = architectures()[architecture].configuration.from_values(values).to_values()
    asked = tasks()["memory_footprint"].configuration_type.from_values({"n_tokens": n_tokens, "repeats": 1}).to_values()
    request = FootprintRequest(architecture=architecture, model=model, task=asked, seed=0, device="cpu", threads=1)
    metrics = measure_in_process(request, lambda: None)
    return metrics["memory/peak_host_mib"] - metrics["memory/baseline_host_mib"]


def test_the_last_doubling_adds_nothing_to_a_model_with_a_memory_and_a_plain_one_needs_more_for_a_quarter_of_it() -> None:
    half, whole = (grown_mib("memo_gpt", MEMORY, tokens) for tokens in (8192, 16_384))
    assert whole - half < SMALL_CHANGE * whole
    assert grown_mib("causal_lm", BACKBONE, 4096) > 1.5 * whole


@pytest.mark.long
def test_from_1024_to_16384_tokens_each_doubling_adds_to_a_plain_model_and_the_last_nothing_to_one_with_a_memory() -> None:
    lengths = [1024 * 2**power for power in range(5)]
    plain = [grown_mib("causal_lm", BACKBONE, tokens) for tokens in lengths]
    memory = [grown_mib("memo_gpt", MEMORY, tokens) for tokens in lengths]
    logits = [4 * CONFIG["vocab_size"] * tokens / MIB for tokens in lengths]
    grown = [later - earlier for earlier, later in itertools.pairwise(plain)]
    assert all(more > 0.9 * size for more, size in zip(grown, logits, strict=False))
    assert memory[-1] - memory[-2] < SMALL_CHANGE * memory[-1]
    assert memory[-1] < plain[-1] / 4
