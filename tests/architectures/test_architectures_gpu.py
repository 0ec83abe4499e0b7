"""On a CUDA device the architectures compute what they compute on the CPU. Needs torch, numpy and pytest alone."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.layers.delta_rule import delta_rule
from trainables.registry import architectures

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")

GROUPS, LEVELS, BOTH = {"dim": 8, "groups": [6, 9, 6, 5]}, {"dim": 8, "levels": [12, 7, 5]}, {"dim": 8, "levels": [[4, 5], [9]]}
SERIES: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {"hidden_size": 16}),
    ("lstm_mlp_head", {"hidden_size": 16}),
    *[("vq_mlp", {"dim": 8, "codebook_size": 12, "pos": pos}) for pos in ("none", "rand", "sin", "rope")],
    ("vq_ln_mlp", {"dim": 8, "codebook_size": 12, "codebook_trainable": True}),
    ("vq_ln_pe_mlp", {"dim": 8, "codebook_size": 12}),
    ("grouped_vq_mlp", GROUPS),
    *[("hierarchical_vq_mlp", {**LEVELS, "order": order, "residual": "add"}) for order in ("dec", "inc")],
    ("hierarchical_vq_mlp", {**LEVELS, "order": "inc", "level_norm": "affine"}),
    ("grouped_hierarchical_vq_mlp", BOTH),
]
HARD: list[dict[str, Any]] = [
    {"vq_mode": "hard_ema"},
    {"vq_mode": "hard_ste"},
    {"vq_mode": "hard_ste", "codebook_trainable": True},
]


@pytest.mark.parametrize("name", ["gpt", "unified_kv", "delta_net"])
def test_a_model_agrees_with_the_cpu(name: str) -> None:
    architecture, task = architectures()[name], SimpleNamespace(vocab_size=23, input_seq_len=12, num_kv_pairs=2)
    torch.manual_seed(0)
    model = architecture.configuration.from_values({"use_ffn": True, "pos": "rope"})
    module = architecture.build(model, task).double()
    ids = torch.randint(23, (3, 12), generator=torch.Generator().manual_seed(1))
    here = module(ids)
    torch.testing.assert_close(module.to(CUDA)(ids.to(CUDA)).cpu(), here, rtol=0, atol=1e-9)


def test_the_chunked_delta_rule_agrees_with_the_recurrent_one_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 100, 16), (2, 3, 100, 16), (2, 3, 100, 12), (2, 3, 100), (2, 3, 16, 12)]
    query, key, value, logit, state = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    inputs = [query, functional.normalize(key, dim=-1), value, torch.sigmoid(logit)]
    expected = delta_rule(*inputs, state=state, backend="recurrent")
    found = delta_rule(*(x.to(CUDA) for x in inputs), state=state.to(CUDA), backend="chunked")
    for here, there in zip(expected, found, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-10)


def series_module(name: str, values: dict[str, Any], time_steps: int = 10) -> nn.Module:
    architecture, task = architectures()[name], SimpleNamespace(channels=2, time_steps=time_steps)
    torch.manual_seed(0)
    return architecture.build(architecture.configuration.from_values(values), task)


def windows(examples: int = 3, length: int = 10) -> Tensor:
    return torch.randn(examples, length, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "values"), SERIES)
def test_a_series_model_agrees_with_the_cpu_in_predictions_gradients_and_codes(name: str, values: dict) -> None:
    here, x = series_module(name, values).double(), windows().double()
    here(x)  # what is kept of an exchange must not stay behind
    there = copy.deepcopy(here).to(CUDA)
    torch.testing.assert_close(there(x.to(CUDA)).cpu(), here(x), rtol=0, atol=1e-9)
    for module in (here, there):
        module(x.to(next(module.parameters()).device)).square().sum().backward()
    for expected, found in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected.grad, rtol=1e-7, atol=1e-9)
    if hasattr(here, "chosen_codes"):
        codes = zip(here.chosen_codes(x), there.chosen_codes(x.to(CUDA)), strict=True)
        assert all(torch.equal(found.cpu(), expected) and found.device.type == CUDA.type for expected, found in codes)


@pytest.mark.parametrize("options", HARD)
@pytest.mark.parametrize(("name", "values"), [("grouped_vq_mlp", GROUPS), ("grouped_hierarchical_vq_mlp", BOTH)])
def test_a_hard_model_agrees_with_the_cpu_after_a_step_of_training(name: str, values: dict, options: dict) -> None:
    pytest.importorskip("vector_quantize_pytorch")
    here, x = series_module(name, {**values, **options}), windows()
    there = copy.deepcopy(here).to(CUDA)
    for module in (here, there):
        inputs = x.to(next(module.parameters()).device)
        (module.train()(inputs).square().mean() + module.auxiliary_loss).backward()
        module.eval()
    for expected, found in zip(here.parameters(), there.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad.cpu(), expected.grad, rtol=1e-3, atol=1e-5)
    for key, expected in here.state_dict().items():  # moving averages too
        torch.testing.assert_close(there.state_dict()[key].cpu(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there(x.to(CUDA)).cpu(), here(x), rtol=1e-3, atol=1e-4)


def test_an_exchange_that_was_kept_on_the_cpu_is_made_anew_on_the_device_and_back() -> None:
    module = series_module("hierarchical_vq_mlp", {**LEVELS, "order": "inc"})
    before = module.blocks.reads.first_codebook()
    there = module.to(CUDA).blocks.reads.first_codebook()
    assert there.device == CUDA
    torch.testing.assert_close(there.cpu(), before)
    with torch.inference_mode():
        module(windows().to(CUDA))
    assert module.blocks.reads.first_codebook() is there
    assert module.cpu().blocks.reads.first_codebook().device.type == "cpu"


def test_random_initial_states_are_drawn_on_the_device() -> None:
    module, x = series_module("lstm", {"hidden_size": 16, "random_initial_state": True}).to(CUDA), windows().to(CUDA)
    assert not torch.equal(module(x), module(x))
    torch.manual_seed(3)
    expected = module(x)
    torch.manual_seed(3)
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize(
    ("name", "values", "lowest"),
    [
        ("vq_ln_mlp", {"dim": 32, "codebook_size": 512}, 0.9),
        ("vq_ln_mlp", {"dim": 32, "codebook_size": 512, "codebook_trainable": True}, 0.9),
        ("grouped_vq_mlp", {"dim": 32, "groups": [128, 128, 64, 64]}, 0.8),
        ("hierarchical_vq_mlp", {"dim": 32, "levels": [256, 128]}, 0.8),
        ("lstm", {"hidden_size": 128}, 0.2),  # the form is that of the CPU's kernel, which keeps more
    ],
)
def test_activation_elements_are_what_the_allocator_holds_for_the_backward_pass(name: str, values: dict, lowest: float) -> None:
    architecture, task = architectures()[name], SimpleNamespace(channels=2, time_steps=96)
    module, x = series_module(name, values, time_steps=96).to(CUDA), windows(1024, 96).to(CUDA)
    module(x[:2]).sum().backward()  # the workspaces of cuBLAS and cuDNN stay from now on
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated(CUDA)
    loss = module(x).square().mean()
    held = (torch.cuda.memory_allocated(CUDA) - before) / 4 / len(x)
    assert loss.requires_grad
    expected = architecture.activation_elements(architecture.configuration.from_values(values), task)
    assert lowest <= held / expected <= 1.1
