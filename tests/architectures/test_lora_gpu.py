"""On a CUDA device adapters compute what they compute on the CPU, and 4-bit matrices are trained under. Needs transformers, peft
and, for the latter, bitsandbytes."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from trainables.registry import architectures

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

VOCABULARY, LENGTH = 257, 64
SIZES = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4, "num_attention_heads": 8}
LLAMA = {"config": {"model_type": "llama", "vocab_size": VOCABULARY, **SIZES}}


class _Task:
    vocab_size, input_seq_len = VOCABULARY, LENGTH


def built(name: str, **values: Any) -> Any:
    pytest.importorskip("peft")
    architecture = architectures()[name]
    torch.manual_seed(0)
    model = architecture.configuration.from_values({"backbone": LLAMA, **values})
    return architecture.build(model, _Task())


def ids() -> torch.Tensor:
    return torch.randint(VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(1))


def train(module: Any, steps: int = 20) -> list[float]:
    """The losses of some steps on one batch."""
    module.train()
    optimizer = torch.optim.AdamW([parameter for parameter in module.parameters() if parameter.requires_grad], lr=3e-3)
    inputs, losses = ids().cuda(), []
    for _ in range(steps):
        loss = functional.cross_entropy(module(inputs)[:, :-1].flatten(0, 1), inputs[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def frozen(module: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if name not in module.adapters}


@torch.no_grad()
def test_outputs_agree_with_the_cpu() -> None:
    module = built("lora_values").double()
    here = module(ids())
    torch.testing.assert_close(module.cuda()(ids().cuda()).cpu(), here, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["lora_attn", "lora_keys_up", "lora_keys_gate", "lora_values"])
def test_adapters_learn_around_packed_matrices_that_stay_as_they_are(name: str) -> None:
    pytest.importorskip("bitsandbytes")
    module = built(name, quantize="nf4", dropout=0.0).cuda()
    before = frozen(module)
    losses = train(module)
    assert losses[-1] < losses[0] - 0.2
    after = frozen(module)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert {key for key, value in module.named_parameters() if value.grad is not None} == module.adapters


@torch.no_grad()
def test_packed_matrices_give_about_the_same_outputs() -> None:
    pytest.importorskip("bitsandbytes")
    exact, near = (built("lora_attn", quantize=kind).cuda()(ids().cuda()) for kind in (None, "nf4"))
    assert 0 < (near - exact).norm() / exact.norm() < 0.3


def test_packed_matrices_take_an_eighth_of_the_memory() -> None:
    pytest.importorskip("bitsandbytes")
    held = {}
    for kind in (None, "nf4"):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        module = built("lora_values", quantize=kind).cuda()
        held[kind] = torch.cuda.memory_allocated() - before
        outside = sum(value.nbytes for key, value in module.named_parameters() if "_proj" not in key or key in module.adapters)
        held[kind] -= outside
        del module
    assert 1 / 8 <= held["nf4"] / held[None] < 1 / 6


def test_training_adapters_needs_less_memory_than_training_everything() -> None:
    peaks = {}
    for name in ("causal_lm", "lora_values"):
        module = built(name).cuda()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        train(module, 2)
        peaks[name] = torch.cuda.max_memory_allocated()
        del module
    assert peaks["lora_values"] < 0.6 * peaks["causal_lm"]
