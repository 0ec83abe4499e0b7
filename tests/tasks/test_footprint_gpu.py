"""Measured on a CUDA device: weights lie below every peak, and more tokens need no less."""

import pytest
import torch

from trainables.footprint.process import measure_in_process
from trainables.footprint.request import FootprintRequest
from trainables.registry import architectures, tasks

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
PEAKS = ("vram/peak_allocated_mib", "vram/peak_reserved_mib")
GPT = {"dim": 256, "n_layers": 4}
CONFIG = {
    **{"model_type": "qwen2", "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4},
    **{"num_attention_heads": 8, "num_key_value_heads": 2},
}


def measured(architecture: str, values: dict, **task: object) -> dict[str, float]:
    model = architectures()[architecture].configuration.from_values(values).to_values()
    task_type = tasks()["memory_footprint"].configuration_type
    asked = task_type.from_values({"vocab_size": 4096, "repeats": 2, **task}).to_values()
    request = FootprintRequest(architecture=architecture, model=model, task=asked, seed=0, device="cuda:0", threads=1)
    return measure_in_process(request, lambda: None)


@pytest.mark.parametrize("mode", ["infer_no_cache", "train_step"])
def test_the_peak_of_an_own_model_is_above_its_weights_and_grows_with_the_tokens(mode: str) -> None:
    found = [measured("gpt", GPT, mode=mode, n_tokens=tokens) for tokens in (512, 2048, 8192)]
    assert all(metrics[name] >= metrics["memory/weights_mib"] > 0 for metrics in found for name in PEAKS)
    allocated = [metrics["vram/peak_allocated_mib"] for metrics in found]
    assert allocated == sorted(set(allocated))


@pytest.mark.parametrize("mode", ["infer_no_cache", "infer_kv_cache", "train_step"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peak_of_a_backbone_is_above_its_weights_and_grows_with_the_tokens(mode: str, dtype: str) -> None:
    pytest.importorskip("transformers")
    values = {"backbone": {"config": CONFIG}}
    found = [measured("causal_lm", values, mode=mode, dtype=dtype, n_tokens=tokens) for tokens in (512, 8192)]
    assert all(metrics[name] >= metrics["memory/weights_mib"] > 0 for metrics in found for name in PEAKS)
    assert found[0]["vram/peak_allocated_mib"] < found[1]["vram/peak_allocated_mib"]


def test_a_memory_of_what_was_read_flattens() -> None:
    pytest.importorskip("transformers")
    values = {"backbone": {"config": CONFIG}, "short_term_memory": 32, "input_block": 256, "memory_block": 128, "ltm_capacity": 8}
    found = [measured("memo_gpt", values, n_tokens=tokens)["vram/peak_allocated_mib"] for tokens in (4096, 8192, 16384)]
    assert max(found) - min(found) < 0.05 * max(found)


def test_a_sequence_that_does_not_fit_is_a_lack_of_memory() -> None:
    with pytest.raises(MemoryError, match="4,294,967,296 tokens"):
        measured("gpt", GPT, n_tokens=2**32)
