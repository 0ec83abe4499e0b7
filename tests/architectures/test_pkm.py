"""``pkm``: a ``gpt`` with product-key memories in some blocks; its counts, its rules and its laws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import configurations, over_configurations, token_task
from torch import nn
from torch.nn import functional

from trainables.configuration import Configuration, ConfigurationError
from trainables.counts import count_by_module, measure_counts
from trainables.layers.feed_forward import FeedForward
from trainables.layers.product_keys.memory import ProductKeyMemory
from trainables.registry import architectures

PKM = architectures()["pkm"]
SMALL = {"n_subkeys": 5, "n_neighbors": 4, "memory_heads": 2, "query_dim": 6}
over_options = over_configurations(max_examples=25)


def build(model: Configuration | None = None, name: str = "pkm", seed: int = 0, **values: object) -> nn.Module:
    architecture = architectures()[name]
    torch.manual_seed(seed)
    chosen = model or architecture.configuration.from_values({**(SMALL if name == "pkm" else {}), **values})
    return architecture.build(chosen, token_task()).double()


def ids(batch: int = 3, length: int = 12) -> torch.Tensor:
    return torch.randint(23, (batch, length), generator=torch.Generator().manual_seed(1))


def drawn(data: st.DataObject, *, without_batch_norm: bool = False) -> nn.Module:
    models = configurations(PKM)
    return build(data.draw(models.filter(lambda model: model.query_norm != "batch") if without_batch_norm else models))


def memory_blocks(module: nn.Module) -> list[int]:
    """Which blocks have a memory as their feed-forward layer."""
    branches = [getattr(getattr(block, "ffn", None), "branch", None) for block in module.blocks]
    return [number for number, branch in enumerate(branches) if isinstance(branch, ProductKeyMemory)]


@pytest.mark.parametrize(("norm", "of_norm"), [("layer", 2048), ("batch", 2048), ("none", 0)])
def test_a_memory_has_the_counts_of_the_publication(norm: str, of_norm: int) -> None:
    values = {"dim": 1024, "n_subkeys": 512, "memory_heads": 4, "query_dim": 256, "query_norm": norm}
    model = PKM.configuration.from_values(values)
    with torch.device("meta"):
        module = PKM.build(model, token_task())
    parts = {name.removeprefix("blocks.2.ffn."): count for name, count in count_by_module(module).items() if "2.ffn" in name}
    expected = {"norm": 1024, "branch": 268_435_456 + 524_288, "branch.proj_q": 1_049_600, "branch.query_norm": of_norm}
    assert parts == {name: count for name, count in expected.items() if count}
    gpt = architectures()["gpt"]
    without = gpt.count(gpt.configuration.from_values({"dim": 1024}), token_task())
    counts = PKM.count(model, token_task())
    assert counts.by_scope() == measure_counts(module).by_scope()
    assert counts.block - without.block == sum(expected.values())
    assert counts.buffers == (2049 if norm == "batch" else 0)


@pytest.mark.parametrize("use_ffn", [True, False])
@pytest.mark.parametrize(("values", "blocks"), [({}, [2]), ({"n_layers": 1}, [0]), ({"memory_layers": [3, 0]}, [0, 3])])
def test_memories_stand_in_the_blocks_that_are_named_or_in_the_middle(values: dict, blocks: list[int], use_ffn: bool) -> None:
    module = build(**values, use_ffn=use_ffn)
    assert memory_blocks(module) == blocks
    others = [block for number, block in enumerate(module.blocks) if number not in blocks]
    assert all(hasattr(block, "ffn") == use_ffn for block in others)
    assert sum(isinstance(part, FeedForward) for part in module.modules()) == use_ffn * len(others)
    if use_ffn:
        assert all([name for name, _ in block.named_children()] == ["att", "ffn"] for block in module.blocks)


@pytest.mark.parametrize(
    ("values", "cure"),
    [
        ({"memory_layers": []}, "at least one block, or null"),
        ({"memory_layers": [4]}, "keep each number below n_layers"),
        ({"memory_layers": [-1]}, "must be at least 0"),
        ({"memory_layers": [1, 2, 1]}, "name each block of memory_layers once"),
        ({"query_dim": 7}, "make query_dim even"),
        ({"n_neighbors": 26}, "make n_neighbors at most that, or n_subkeys larger"),
        ({"value_lr": 0.0}, "must be greater than 0"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_with_a_cure(values: dict, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        PKM.configuration.from_values({**SMALL, **values})


def test_a_memory_may_be_read_whole() -> None:
    assert PKM.configuration.from_values({**SMALL, "n_neighbors": 25}).n_neighbors == 25


@over_options
@given(data=st.data())
def test_later_tokens_change_nothing_earlier(data: st.DataObject) -> None:
    module, position = drawn(data, without_batch_norm=True), data.draw(st.integers(1, 11), label="position")
    changed = ids()
    changed[:, position:] = (changed[:, position:] + 1) % 23
    torch.testing.assert_close(module(changed)[:, :position], module(ids())[:, :position], rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_a_row_does_not_see_the_rest_of_its_batch(data: st.DataObject) -> None:
    module = drawn(data, without_batch_norm=True)
    torch.testing.assert_close(module(ids()[1:2]), module(ids())[1:2], rtol=0, atol=1e-12)


def test_batch_norm_sees_later_tokens_and_other_rows_in_training_but_not_in_evaluation() -> None:
    module = build(query_norm="batch", init_std=0.3)
    changed = ids()
    changed[1:, 6:] = (changed[1:, 6:] + 1) % 23
    assert not torch.allclose(module.train()(changed)[0], module(ids())[0])
    assert not torch.allclose(module(changed)[1:, :6], module(ids())[1:, :6])
    module.eval()
    torch.testing.assert_close(module(changed)[0], module(ids())[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(module(changed)[1:, :6], module(ids())[1:, :6], rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_gradients_are_finite_and_reach_every_parameter(data: st.DataObject) -> None:
    module = drawn(data)
    functional.cross_entropy(module(ids()).flatten(0, 1), ids().flatten()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("residual_mul", [True, False])
def test_with_values_of_zero_it_is_the_gpt_of_the_same_seed(residual_mul: bool) -> None:
    module, gpt = (build(name=name, seed=3, residual_mul=residual_mul) for name in ("pkm", "gpt"))
    assert not torch.allclose(module(ids()), gpt(ids()))
    nn.init.zeros_(module.blocks[2].ffn.branch.values)
    torch.testing.assert_close(module(ids()), gpt(ids()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("residual_mul", [True, False])
def test_the_memory_is_a_residual_branch_behind_a_norm(residual_mul: bool) -> None:
    branch = build(residual_mul=residual_mul).blocks[2].ffn
    x = torch.randn(2, 5, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    update = branch.branch(branch.norm(x))
    torch.testing.assert_close(branch(x), x * (1 + update) if residual_mul else x + update)


def test_weights_follow_the_seed_and_a_state_restores_them() -> None:
    first, again, other = (build(seed=seed, query_norm="batch") for seed in (5, 5, 6))
    first.train()(ids()), again.train()(ids())  # moves the statistics of the norm
    for module in (first, again, other):
        module.eval()
    assert torch.equal(first(ids()), again(ids())) and not torch.allclose(first(ids()), other(ids()))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(ids()), other(ids()))


@pytest.mark.parametrize("option", [{"n_neighbors": 3}, {"memory_heads": 1}, {"query_dim": 8}, {"query_norm": "none"}])
def test_every_option_makes_a_difference(option: dict) -> None:
    assert (build(init_std=0.3, **option)(ids()) - build(init_std=0.3)(ids())).abs().max() > 1e-6


def test_bfloat16_autocast() -> None:
    module = build().float()
    exact = module(ids())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(ids())
        functional.cross_entropy(found.flatten(0, 1), ids().flatten()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    # A rounded query may select another of two slots that are nearly as good: most logits are near, not each.
    assert (found.float() - exact).abs().median() < 0.05


@pytest.mark.parametrize(
    "values",
    [
        {"n_subkeys": 32},
        {"n_subkeys": 64, "n_neighbors": 16, "query_norm": "none", "use_ffn": True},
        {"n_subkeys": 16, "n_neighbors": 64, "query_norm": "batch", "memory_layers": [0, 1], "use_ffn": True},
        {"n_subkeys": 16, "n_neighbors": 8, "query_dim": 32, "residual_mul": True, "memory_layers": [1]},
    ],
)
def test_activation_elements_are_within_six_per_cent_of_what_autograd_keeps(values: dict) -> None:
    model, task = PKM.configuration.from_values({"n_layers": 2, **values}), token_task(64, 96)
    module, tokens = PKM.build(model, task), torch.randint(64, (4, 96))
    assert PKM.activation_elements(model, task) == pytest.approx(kept_per_example(module, tokens), rel=0.06)


def kept_per_example(module: nn.Module, tokens: torch.Tensor) -> float:
    """32-bit elements, those of 64-bit places counted twice."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = functional.cross_entropy(module(tokens).flatten(0, 1), tokens.flatten())
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / 4 / len(tokens)
