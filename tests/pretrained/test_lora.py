"""Adapters in a frozen backbone: what they compute, what is trained, and what is said of targets that are not there."""

import math
from typing import Any

import pytest
import torch
from lora_cases import GPT2, LLAMA, NAMES, OF_GPT2, QWEN2, TASK, built, ids, with_drawn_adapters
from torch import Tensor, nn
from torch.nn import functional

from trainables.configuration import ConfigurationError
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.registry import architectures

CASES = [
    *[(name, backbone, {}) for name in NAMES for backbone in (LLAMA, QWEN2)],
    ("lora_attn", GPT2, {"target_modules": OF_GPT2}),
]


def backbone_alone(backbone: Any) -> PretrainedLanguageModel:
    torch.manual_seed(0)
    return PretrainedLanguageModel(backbone["config"])


class ReferenceLora(nn.Module):
    """The formula of section 4.1 of Hu et al. 2022, around a matrix (out, in)."""

    def __init__(self, matrix: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, alpha: float) -> None:
        super().__init__()
        self.matrix, self.bias, self.down, self.up, self.alpha = matrix, bias, down, up, alpha

    def forward(self, x: Tensor) -> Tensor:
        rank = self.down.shape[0]
        middle = torch.einsum("...i,ri->...r", x, self.down)
        added = self.alpha / rank * torch.einsum("...r,or->...o", middle, self.up)
        return functional.linear(x, self.matrix, self.bias) + added


def reference(module: Any, backbone: Any, alpha: float) -> PretrainedLanguageModel:
    """The backbone alone with each adapted layer replaced by the formula."""
    model, state = backbone_alone(backbone), dict(module.named_parameters())
    for name in sorted(name for name in module.adapters if ".lora_A." in name):
        layer = name.partition(".lora_A.")[0]
        old, up = model.get_submodule(layer), state[name.replace("lora_A", "lora_B")]
        matrix = old.weight.T if backbone is GPT2 else old.weight
        model.set_submodule(layer, ReferenceLora(matrix, old.bias, state[name], up, alpha))
    return model


@pytest.mark.parametrize(("name", "backbone", "values"), CASES)
@torch.no_grad()
def test_before_training_outputs_are_those_of_the_backbone_bit_for_bit(name: str, backbone: Any, values: dict) -> None:
    assert torch.equal(built(name, backbone, **values)(ids()), backbone_alone(backbone)(ids()))


@pytest.mark.parametrize(("name", "backbone", "values"), CASES)
@torch.no_grad()
def test_outputs_are_those_of_the_formula(name: str, backbone: Any, values: dict) -> None:
    module = with_drawn_adapters(built(name, backbone, lora_r=3, lora_alpha=6.0, **values))
    expected = reference(module, backbone, 6.0)(ids())
    torch.testing.assert_close(module(ids()), expected, rtol=1e-4, atol=1e-5)
    assert (expected - backbone_alone(backbone)(ids())).abs().max() > 0.1


@pytest.mark.parametrize(("name", "backbone", "values"), CASES)
@torch.no_grad()
def test_merged_weights_give_the_same_logits(name: str, backbone: Any, values: dict) -> None:
    module = with_drawn_adapters(built(name, backbone, **values))
    merged = PretrainedLanguageModel(backbone["config"])
    merged.load_state_dict(module.merged_state_dict())
    torch.testing.assert_close(merged(ids()), module(ids()), rtol=0, atol=1e-4)
    assert (merged(ids()) - backbone_alone(backbone)(ids())).abs().max() > 0.1


@pytest.mark.parametrize(("name", "backbone", "values"), CASES)
def test_only_adapters_have_gradients(name: str, backbone: Any, values: dict) -> None:
    module = with_drawn_adapters(built(name, backbone, **values)).train()
    functional.cross_entropy(module(ids()).flatten(0, 1), ids().flatten()).backward()
    with_gradient = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert with_gradient == module.adapters
    assert all("lora_" in name for name in with_gradient)
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters() if parameter.requires_grad)


def test_dropout_is_of_the_adapters_and_of_training_alone() -> None:
    module = with_drawn_adapters(built("lora_values", dropout=0.5))
    assert torch.equal(module(ids()), module(ids()))
    module.train()
    assert not torch.equal(module(ids()), module(ids()))
    without = with_drawn_adapters(built("lora_values", dropout=0.0)).train()
    assert torch.equal(without(ids()), without(ids()))


def test_adapters_begin_with_the_distribution_of_linear_layers() -> None:
    module = built("lora_attn", lora_r=64)
    halves = dict(module.named_parameters())
    bound = 1 / math.sqrt(LLAMA["config"]["hidden_size"])
    for name in module.adapters:
        if "lora_B" in name:
            assert not halves[name].any()
        else:
            assert 0.95 * bound < halves[name].abs().max() <= bound


def refused(name: str, backbone: Any, **values: Any) -> list[tuple[str | None, str]]:
    architecture = architectures()[name]
    model = architecture.configuration.from_values({"backbone": backbone, **values})
    assert not all(rule.holds(model, TASK) for rule in architecture.pair_rules)
    with pytest.raises(ConfigurationError) as raised:
        architecture.inspect(model, TASK)
    return raised.value.problems


def test_a_target_that_the_backbone_lacks_is_named_with_those_that_it_has() -> None:
    cure = "name some in target_modules"
    said = f"a gpt2 has no q_proj: its linear layers are c_attn, c_proj, c_fc; {cure}"
    assert refused("lora_attn", GPT2) == [("target_modules", said)]
    layers = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    said = f"a llama has no c_fc: its linear layers are {layers}; {cure}"
    assert refused("lora_values", LLAMA, target_modules=["up_proj", "c_fc"]) == [("target_modules", said)]
    assert "it is empty" in refused("lora_values", LLAMA, target_modules=[])[0][1]
    assert "has no lm_head" in refused("lora_attn", LLAMA, target_modules=["lm_head"])[0][1]


def test_matrices_of_gpt2_are_not_quantised() -> None:
    ((field, text),) = refused("lora_attn", GPT2, target_modules=OF_GPT2, quantize="nf4")
    assert field == "quantize" and "a gpt2 are stored transposed and cannot be held in 4 bits" in text


def test_rows_that_are_not_whole_blocks_are_not_quantised() -> None:
    ((field, text),) = refused("lora_attn", LLAMA, quantize="nf4")
    assert field == "quantize" and "blocks of 64 numbers, and model.layers.0.self_attn.q_proj has rows of 32" in text
    architecture = architectures()["lora_attn"]
    for shape in ("llama-2-7b", "llama-3.1-8b", "qwen2-0.5b", "qwen2-1.5b", "qwen2-7b"):
        model = architecture.configuration.from_values({"backbone": shape, "quantize": "nf4"})
        assert architecture.pair_rules[2].holds(model, TASK)


def test_a_backbone_that_does_not_fit_its_task_is_refused() -> None:
    small = {"config": {**LLAMA["config"], "vocab_size": 200}}
    assert "use the tokenizer of the model" in refused("lora_attn", small)[0][1]


def test_a_name_may_say_which_of_two_layers_is_meant() -> None:
    adapted = {name.rpartition(".lora_")[0] for name in built("lora_attn", GPT2, target_modules=["mlp.c_proj"]).adapters}
    assert adapted == {f"model.transformer.h.{block}.mlp.c_proj" for block in range(2)}


@pytest.mark.parametrize(
    ("package", "make", "extra"),
    [
        ("peft", lambda: built("lora_attn"), "hf"),
        ("bitsandbytes", lambda: built("lora_attn", quantize="nf4"), "gpu"),
    ],
)
def test_without_a_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, make: Any, extra: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*pip install 'memsweep\[{extra}\]'"):
        make()
