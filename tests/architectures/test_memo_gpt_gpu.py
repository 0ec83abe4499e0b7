"""On a CUDA device ``memo_gpt`` computes what it computes on the CPU, and holds no more of longer sequences."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables.registry import architectures

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
pytest.importorskip("transformers")

SIZES = {
    **{"vocab_size": 53, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1},
}


def build(model_type: str, **values: Any) -> torch.nn.Module:
    found, backbone = architectures()["memo_gpt"], {"config": {"model_type": model_type, **SIZES}}
    blocks = {"short_term_memory": 8, "input_block": 16, "memory_block": 8, "ltm_capacity": 4}
    torch.manual_seed(0)
    model = found.configuration.from_values({"backbone": backbone, **blocks, **values})
    return found.build(model, SimpleNamespace(vocab_size=53, input_seq_len=64))


def ids(length: int) -> Tensor:
    return torch.randint(53, (3, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("values", [{}, {"dual_ffn": True}, {"recompute": True, "ltm_visible_to_input": "last_n"}])
@pytest.mark.parametrize("model_type", ["qwen2", "llama"])
def test_states_and_gradients_agree_with_the_cpu(model_type: str, values: dict[str, Any]) -> None:
    here = build(model_type, **values)
    there = copy.deepcopy(here).cuda()
    expected, found = here.hidden_states(ids(60)), there.hidden_states(ids(60).cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)
    expected.square().mean().backward(), found.square().mean().backward()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-3, atol=1e-5)


def test_the_peak_of_a_pass_in_pieces_does_not_grow_with_the_sequence() -> None:
    module, peaks = build("qwen2").cuda(), []
    with torch.inference_mode():
        for length in (512, 512, 4096):  # the first is for what is allocated once
            tokens = ids(length).cuda()
            torch.cuda.reset_peak_memory_stats()
            for _ in module.chunks(tokens):
                pass
            peaks.append(torch.cuda.max_memory_allocated() - tokens.nbytes)
    assert peaks[2] <= 1.01 * peaks[1]
