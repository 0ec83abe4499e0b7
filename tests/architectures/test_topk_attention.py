"""Attention to the keys with the largest products: against a plain loop, against the dense attention, and what it keeps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.layers.causal_attention import causal_attention
from trainables.layers.topk_attention import topk_attention
from trainables.layers.topk_lookup import largest_products, weighted_sums

LENGTH = 9


def _operands(
    *, length: int = LENGTH, dk: int = 4, dv: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3, length, dk), (2, 3, length, dk), (2, 3, length, dv)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def _with_gradients(output: Tensor, operands: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(output.dtype)
    return [output, *torch.autograd.grad((output * weights).sum(), operands)]


def _loop(query: Tensor, key: Tensor, value: Tensor, k: int) -> Tensor:
    """One query at a time: sort its logits, take the softmax of the first k."""
    rows = []
    for q, keys, values in zip(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), strict=True):
        for t in range(len(q)):
            logits = [(keys[s] @ q[t] / len(q[t]) ** 0.5, s) for s in range(t + 1)]
            chosen = sorted(logits, key=lambda pair: -pair[0].item())[:k]
            weights = torch.softmax(torch.stack([logit for logit, _ in chosen]), dim=0)
            rows.append(sum(weight * values[s] for weight, (_, s) in zip(weights, chosen, strict=True)))
    return torch.stack(rows).view(*query.shape[:-1], -1)


@settings(max_examples=25, deadline=None)
@given(k=st.integers(1, LENGTH + 2), chunk=st.integers(1, LENGTH + 2), seed=st.integers(0, 2**31))
def test_it_is_the_softmax_over_the_k_largest_logits_in_chunks_of_any_size(k: int, chunk: int, seed: int) -> None:
    operands = _operands(seed=seed)
    found = _with_gradients(topk_attention(*operands, k, chunk), operands)
    expected = _with_gradients(_loop(*operands, k), operands)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize(("k", "chunk"), [(40, 7), (40, 40), (41, 64), (1000, 1)])
def test_with_as_many_neighbors_as_keys_it_is_dense_attention(dtype: torch.dtype, tolerance: float, k: int, chunk: int) -> None:
    operands = _operands(length=40, dtype=dtype)
    found = _with_gradients(topk_attention(*operands, k, chunk), operands)
    expected = _with_gradients(causal_attention(*operands), operands)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(found[1:], expected[1:], rtol=0, atol=10 * tolerance)


def test_with_fewer_neighbors_it_differs_from_the_dense_attention() -> None:
    operands = _operands(length=40)
    far = (topk_attention(*operands, 3, 8) - causal_attention(*operands)).abs().amax((0, 1, 3))
    assert (far[:3] < 1e-12).all() and (far[3:] > 1e-3).all()


def test_a_query_that_sees_fewer_than_k_keys_gives_no_weight_to_later_ones() -> None:
    query, key, _ = _operands()
    products, slots = largest_products(query, key, 5, chunk=4, causal=True)
    weights = torch.softmax(products, dim=-1)
    later = slots > torch.arange(LENGTH).unsqueeze(1)
    assert later.sum((0, 1, 3)).tolist() == [24, 18, 12, 6, 0, 0, 0, 0, 0]
    assert (weights[later] == 0).all() and (weights[~later] > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), causal=st.booleans(), chunk=st.integers(1, 8))
def test_slots_differ_and_hold_the_largest_products(data: st.DataObject, causal: bool, chunk: int) -> None:
    k = data.draw(st.integers(1, 7), label="k")
    numbers = st.lists(st.integers(-1, 1), min_size=14, max_size=14)
    query, key = (torch.tensor(data.draw(numbers), dtype=torch.float64).view(7, 2) for _ in range(2))
    products, slots = largest_products(query, key, k, chunk=chunk, causal=causal)
    scores = query @ key.T
    if causal:
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    assert torch.equal(products, scores.sort(descending=True).values[:, :k])
    assert torch.equal(scores.gather(1, slots.long()), products)
    assert all(len(set(row)) == k for row in slots.tolist())


def test_equal_products_are_chosen_among_the_same_way_each_time() -> None:
    query, key = torch.ones(64, 4), torch.ones(64, 4)
    _, first = largest_products(query, key, 5, chunk=16, causal=True)
    for _ in range(5):
        assert torch.equal(largest_products(query, key, 5, chunk=16, causal=True)[1], first)
    beside = largest_products(torch.ones(3, 64, 4), key.expand(3, 64, 4), 5, chunk=16, causal=True)[1]
    assert torch.equal(beside, first.expand(3, 64, 5))


@pytest.mark.parametrize("k", [1, 4, LENGTH])
def test_gradients_are_those_of_finite_differences(k: int) -> None:
    operands = [x[:1, :2].detach().requires_grad_() for x in _operands(dk=3, dv=2)]
    assert torch.autograd.gradcheck(lambda *x: topk_attention(*x, k, 4), operands)


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_of_the_lookup_are_those_of_finite_differences(causal: bool) -> None:
    query, key, value = (x[0, 0].detach().requires_grad_() for x in _operands())

    def read(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        products, slots = largest_products(query, key, 3, chunk=4, causal=causal)
        return weighted_sums(torch.sigmoid(products), slots, value, chunk=5, causal=causal)

    assert torch.autograd.gradcheck(read, (query, key, value))


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    operands = _operands()
    (gradient,) = torch.autograd.grad(topk_attention(*operands, 3, 4).square().sum(), operands[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("chunk", [1, 16, 64])
def test_what_is_kept_is_k_weights_and_indices_a_query_whatever_the_chunk(chunk: int) -> None:
    operands = _operands(length=64, dk=4, dv=4, dtype=torch.float32)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = topk_attention(*operands, 5, chunk)
    queries, four_bytes = 2 * 3 * 64, 4
    assert output.requires_grad
    assert sum(kept.values()) == queries * (3 * 4 + 2 * 5) * four_bytes < queries * 64 * four_bytes


@pytest.mark.parametrize("chunk", [8, 64, 512])
def test_no_tensor_is_larger_than_a_chunk_of_products(chunk: int) -> None:
    operands = _operands(length=512, dk=4, dv=4, dtype=torch.float32)
    forward, backward = _LargestTensor(), _LargestTensor()
    with forward:
        total = topk_attention(*operands, 16, chunk).sum()
    with backward:
        total.backward()
    assert forward.elements == backward.elements == 2 * 3 * max(chunk * 512, 512 * 16)


class _LargestTensor(TorchDispatchMode):
    """Notes the size of the largest floating-point result of any operation, those of a backward pass included."""

    elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for part in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(part, Tensor) and part.is_floating_point():
                self.elements = max(self.elements, part.numel())
        return result


def test_without_gradients_it_computes_the_same() -> None:
    operands = _operands()
    expected = topk_attention(*operands, 3, 4)
    with torch.inference_mode():
        assert torch.equal(topk_attention(*operands, 3, 4), expected)


def test_autocast_takes_the_products_in_half_precision_and_returns_gradients_in_full() -> None:
    operands = _operands(dtype=torch.float32)
    exact = _with_gradients(topk_attention(*operands, LENGTH, 4), operands)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = topk_attention(*operands, LENGTH, 4)
    assert output.dtype == torch.bfloat16
    half = _with_gradients(output, operands)
    assert [x.dtype for x in half[1:]] == [torch.float32] * 3
    torch.testing.assert_close([x.float() for x in half], exact, rtol=0.1, atol=0.05)
