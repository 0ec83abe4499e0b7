"""Frozen matrices in 4 bits; only where bitsandbytes is installed, which computes on the CPU too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lora_cases import (
    CPU,
    NAMES,
    SIZES,
    VOCABULARY,
    built,
    copied_backbone,
    frozen,
    ids,
    saved_backbone,
    session,
    with_drawn_adapters,
)
from test_lora_sessions import own, to_the_end
from tiny import tiny_model
from torch.nn import functional

from trainables.counts import measure_counts
from trainables.pretrained.model import PretrainedLanguageModel

pytest.importorskip("bitsandbytes", reason="the extra gpu is not installed")

LLAMA = {"config": {"model_type": "llama", "vocab_size": VOCABULARY, **SIZES, "hidden_size": 64, "intermediate_size": 128}}


def packed(name: str = "lora_values", backbone: Any = LLAMA, **values: Any) -> Any:
    return built(name, backbone, quantize="nf4", **values).to(CPU)


def matrices(module: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.dtype == torch.uint8]


def test_every_matrix_of_the_blocks_is_packed_and_nothing_else() -> None:
    module, sizes = packed(), LLAMA["config"]
    width, inner, layers = sizes["hidden_size"], sizes["intermediate_size"], sizes["num_hidden_layers"]
    elements = layers * (4 * width**2 + 3 * width * inner)
    assert sum(matrix.nbytes for matrix in matrices(module)) == elements / 2
    assert not any(matrix.requires_grad for matrix in matrices(module))
    others = {parameter.dtype for parameter in module.parameters()} - {torch.uint8}
    assert others == {torch.float32}
    assert module.extra_bytes() > 0


@torch.no_grad()
def test_outputs_are_near_those_without_quantisation() -> None:
    exact, near = (with_drawn_adapters(module)(ids()) for module in (built("lora_values", LLAMA), packed()))
    error = (near - exact).norm() / exact.norm()
    assert 0 < error < 0.2


@torch.no_grad()
def test_merged_weights_are_unpacked() -> None:
    module = with_drawn_adapters(packed())
    merged = PretrainedLanguageModel(LLAMA["config"])
    merged.load_state_dict(module.merged_state_dict())
    error = (merged(ids()) - module(ids())).norm() / module(ids()).norm()
    assert error < 0.02, "computing in bfloat16"


def test_only_adapters_have_gradients() -> None:
    module = with_drawn_adapters(packed()).train()
    functional.cross_entropy(module(ids()).flatten(0, 1), ids().flatten()).backward()
    assert {name for name, parameter in module.named_parameters() if parameter.grad is not None} == module.adapters


def test_packed_matrices_count_as_what_they_stand_for() -> None:
    module = packed()
    assert measure_counts(module.unpacked()) == measure_counts(built("lora_values", LLAMA))


@torch.no_grad()
def test_the_weights_of_a_folder_are_packed(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 128}
    backbone = saved_backbone(tmp_path / "base", **sizes)
    module = packed("lora_attn", backbone)
    module.attach(copied_backbone(backbone, tmp_path / "base", tmp_path), tmp_path)
    found, expected = module.merged_state_dict(), tiny_model("llama", VOCABULARY, **sizes).state_dict()
    assert found.keys() == {f"model.{name}" for name in expected}
    for name, tensor in expected.items():
        error = (found[f"model.{name}"] - tensor).norm() / tensor.norm()
        assert 0 < error < 0.15 if "_proj" in name else error == 0


@pytest.mark.parametrize("name", NAMES)
def test_training_changes_no_packed_matrix_and_can_be_interrupted(tmp_path: Path, name: str) -> None:
    run = session(tmp_path, name, LLAMA, model={"quantize": "nf4"})
    before = frozen(run.module)
    run.step()
    run.save(tmp_path / "one.pt")
    metrics = to_the_end(run)
    assert frozen(run.module) == before
    assert set(torch.load(tmp_path / "one.pt", weights_only=True)["module"]) == run.module.adapters
    again = session(tmp_path, name, LLAMA, model={"quantize": "nf4"})
    again.load(tmp_path / "one.pt")
    assert to_the_end(again) == metrics
    assert all(torch.equal(value, own(again)[key]) for key, value in own(run).items())
