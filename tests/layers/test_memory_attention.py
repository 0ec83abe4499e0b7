"""Attention to the stored keys with the largest products, against a plain loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.layers.memory_attention import memory_attention


def _operands(slots: int = 9, length: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    sizes = [(2, 3, length, 4), (2, 3, slots, 4), (2, 3, slots, 6)]
    query, key, value = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)
    return query, key, value


def _looped(query: Tensor, key: Tensor, value: Tensor, k: int, visible: Tensor | None) -> Tensor:
    mixed = torch.zeros(*query.shape[:-1], value.shape[-1], dtype=query.dtype)
    for row, head, token in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        seen = [slot for slot in range(key.shape[2]) if visible is None or visible[row, token, slot]]
        products = {slot: query[row, head, token] @ key[row, head, slot] for slot in seen}
        best = sorted(seen, key=lambda slot: -products[slot].item())[:k]
        if best:
            weights = torch.softmax(torch.stack([products[slot] for slot in best]), dim=0)
            mixed[row, head, token] = weights @ value[row, head, best]
    return mixed


@settings(max_examples=20, deadline=None)
@given(k=st.integers(1, 12), at_once=st.sampled_from([1, 100, 2**22]), hidden=st.sampled_from([None, 0.2, 0.8, 1.0]))
def test_it_and_its_gradients_are_those_of_a_loop(k: int, at_once: int, hidden: float | None) -> None:
    operands = _operands()
    visible = None if hidden is None else torch.rand(2, 5, 9) >= hidden
    expected = _looped(*operands, k, visible)
    found = memory_attention(*operands, k, visible, products_at_once=at_once)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if found.any():
        gradients = [torch.autograd.grad(mixed.square().sum(), operands) for mixed in (found, expected)]
        torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-11)


@pytest.mark.parametrize("k", [9, 100])
def test_where_all_is_read_it_is_plain_attention(k: int) -> None:
    query, key, value = _operands()
    expected = torch.softmax(query @ key.mT, dim=-1) @ value
    torch.testing.assert_close(memory_attention(query, key, value, k), expected, rtol=0, atol=1e-12)


def test_a_query_that_sees_nothing_reads_zeros_and_has_no_gradient() -> None:
    query, key, value = _operands()
    visible = torch.ones(2, 5, 9, dtype=torch.bool)
    visible[0, 2] = False
    mixed = memory_attention(query, key, value, 3, visible)
    mixed.sum().backward()
    assert not mixed[0, :, 2].any() and not query.grad[0, :, 2].any()
    assert mixed[0, :, 1].any() and mixed[1, :, 2].any() and query.grad.isfinite().all()


def test_what_is_stored_has_a_gradient_only_where_it_wants_one() -> None:
    query, key, value = _operands()
    memory_attention(query, key.detach(), value.detach(), 3).sum().backward()
    assert query.grad is not None and key.grad is None and value.grad is None
