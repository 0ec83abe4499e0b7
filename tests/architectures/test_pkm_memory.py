"""The product-key memory: what it selects, what it reads, what it learns from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trainables.layers.product_keys.memory import ProductKeyMemory
from trainables.layers.product_keys.selection import best_sums

NORMS = ("layer", "batch", "none")


def memory(seed: int = 0, **changes: object) -> ProductKeyMemory:
    torch.manual_seed(seed)
    sizes = {"n_subkeys": 6, "n_neighbors": 5, "heads": 3, "query_dim": 8, "query_norm": "layer", "init_std": 0.5}
    return ProductKeyMemory(10, **{**sizes, **changes}).double()


def states(seed: int = 1) -> Tensor:
    return torch.randn(2, 7, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 9), share=st.floats(0, 1), ties=st.booleans(), seed=st.integers(0, 2**31))
def test_the_best_sums_are_those_of_all_sums(size: int, share: float, ties: bool, seed: int) -> None:
    generator, count = torch.Generator().manual_seed(seed), max(1, round(share * size**2))
    first, second = torch.randn(2, 4, 3, size, generator=generator)
    if ties:
        first, second = first.round(), second.round()
    scores, places = best_sums(first, second, count)
    all_sums = (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)
    assert torch.equal(scores, all_sums.topk(count).values)
    assert torch.equal(all_sums.gather(-1, places), scores)
    assert all(len(set(row)) == count for row in places.flatten(0, 1).tolist())


def test_more_sums_than_there_are_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        best_sums(torch.zeros(3), torch.zeros(3), 10)


@pytest.mark.parametrize("norm", NORMS)
def test_a_head_reads_each_slot_once_with_weights_that_sum_to_one(norm: str) -> None:
    slots, weights = memory(query_norm=norm).select(states())
    assert slots.shape == weights.shape == (2, 7, 3, 5) and slots.dtype == torch.int64
    assert all(len(set(head)) == 5 for head in slots.flatten(0, 2).tolist())
    assert slots.min() >= 0 and slots.max() < 36 and (weights.diff(dim=-1) <= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 7, 3, dtype=torch.float64))


def test_each_head_selects_by_its_own_sub_keys() -> None:
    slots, _ = memory().select(states())
    assert not torch.equal(slots[:, :, 0].sort().values, slots[:, :, 1].sort().values)


def scores_of_all_slots(layer: ProductKeyMemory, x: Tensor) -> Tensor:
    """(B, T, heads, n^2), each by the product of a whole query with a whole key; the queries without norm."""
    heads, _, size, half = layer.subkeys.shape
    queries = layer.proj_q(x).reshape(*x.shape[:2], heads, 2 * half)
    first, second = layer.subkeys[:, 0], layer.subkeys[:, 1]
    keys = torch.cat([first.repeat_interleave(size, 1), second.repeat(1, size, 1)], -1)
    return torch.einsum("bthd,hsd->bths", queries, keys)


def test_the_memory_reads_the_weighted_values_of_the_best_keys() -> None:
    layer, x = memory(query_norm="none"), states()
    scores, slots = scores_of_all_slots(layer, x).topk(5)
    expected = (scores.softmax(-1).unsqueeze(-1) * layer.values[slots]).sum((2, 3))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_one_head_that_reads_every_slot_is_a_softmax_over_all_slots() -> None:
    layer, x = memory(query_norm="none", heads=1, n_neighbors=36), states()
    expected = scores_of_all_slots(layer, x).softmax(-1).squeeze(2) @ layer.values
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_only_values_that_were_read_have_a_gradient(norm: str) -> None:
    layer, x = memory(query_norm=norm, n_subkeys=16), states()
    layer(x).square().sum().backward()
    read = torch.zeros(256, dtype=torch.bool)
    read[layer.select(x)[0].unique()] = True
    assert 0 < read.sum() < 256
    assert torch.equal(layer.values.grad.any(-1), read)


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_those_of_finite_differences(norm: str) -> None:
    layer = memory(query_norm=norm)
    names = [name for name, _ in layer.named_parameters()]

    def read(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    inputs = [states().requires_grad_(), *(parameter.detach().clone().requires_grad_() for parameter in layer.parameters())]
    assert torch.autograd.gradcheck(read, inputs, eps=1e-7, atol=1e-5)


def test_layer_norm_takes_each_heads_query_alone() -> None:
    layer, x = memory(), states()
    for parameter, value in ((layer.query_norm.weight, 0.5), (layer.query_norm.bias, 0.1)):
        nn.init.normal_(parameter, value)
    queries = layer.proj_q(x).unflatten(-1, (3, 8))
    expected = nn.functional.layer_norm(queries, (8,)).flatten(-2) * layer.query_norm.weight + layer.query_norm.bias
    torch.testing.assert_close(layer.query_norm(layer.proj_q(x).flatten(0, 1)), expected.flatten(0, 1))


def test_initial_sub_keys_are_uniform_and_values_normal() -> None:
    layer = memory(n_subkeys=64, query_dim=32)
    bound = 16**-0.5
    assert 0.98 * bound < layer.subkeys.abs().max() <= bound
    assert layer.subkeys.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert layer.values.std().item() == pytest.approx(10**-0.5, rel=0.03)
    assert layer.values.mean().item() == pytest.approx(0, abs=0.01) and not layer.proj_q.bias.any()


def test_the_package_product_key_memory_computes_the_same_with_the_same_weights() -> None:
    package = pytest.importorskip("product_key_memory")
    ours = memory(query_norm="none", heads=4).float()
    theirs = package.PKM(10, heads=4, num_keys=6, topk=5, dim_head=4)
    theirs.norm = nn.Identity()  # it normalises each half of a query, without a choice of none
    with torch.no_grad():
        ours.proj_q.bias.zero_()  # it has none
        theirs.to_queries.weight.copy_(ours.proj_q.weight.unflatten(0, (4, 2, 4)).transpose(0, 1).flatten(0, 2))
        theirs.keys.copy_(ours.subkeys.transpose(1, 2))
        theirs.values.weight.copy_(ours.values)
    x = states().float()
    torch.testing.assert_close(theirs(x), ours(x))
