"""Attention to a few of many stored keys and values.

Wu et al. 2022, 'Memorizing Transformers' (arXiv 2203.08913), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_PRODUCTS_AT_ONCE = 2**22


def memory_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    n_neighbors: int,
    visible: Tensor | None = None,
    *,
    products_at_once: int = _PRODUCTS_AT_ONCE,
) -> Tensor:
    """Exact search: each query reads the ``n_neighbors`` stored keys with the largest products.

    Args:
        query: (B, H, T, dk), already scaled.
        key: (B, H, M, dk), M at least 1.
        value: (B, H, M, dv).
        n_neighbors: keys that a query reads; M or more: all it sees.
        visible: (B, T, M) truth values, which stored keys a query may read; None: all.
        products_at_once: products of queries and stored keys that exist at the same time; at least those of one token.

    Returns:
        (B, H, T, dv): of the kept products the softmax, weighing the values; zeros for a query that sees nothing. For the
        backward pass are kept the arguments and, of each query, ``n_neighbors`` weights and as many indices of four bytes.
        Gradients go where operands want them: what is stored wants none where it is detached.
    """
    dtype = torch.promote_types(query.dtype, torch.promote_types(key.dtype, value.dtype))
    k = min(n_neighbors, key.shape[2])
    operands = (query.to(dtype), key.to(dtype), value.to(dtype))
    chunk = max(1, products_at_once // (query.shape[0] * query.shape[1] * key.shape[2]))
    mixed: Tensor = _MemoryAttention.apply(*operands, visible, k, chunk)  # type: ignore[no-untyped-call]
    return mixed


class _MemoryAttention(torch.autograd.Function):
    """Spreads weights over the stored rows instead of gathering k rows a query, which are more wherever k dk exceeds M."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, k: int, chunk: int) -> Tensor:
        mixed = query.new_empty(*query.shape[:-1], value.shape[-1])
        weights = query.new_empty(*query.shape[:-1], k)
        slots = torch.empty(weights.shape, dtype=torch.int32, device=query.device)
        for rows in _chunks(query.shape[2], chunk):
            products = query[:, :, rows] @ key.mT
            if visible is not None:
                products.masked_fill_(~visible[:, None, rows], -torch.inf)
            largest, chosen = torch.topk(products, k)
            kept = torch.softmax(largest, dim=-1).masked_fill(largest == -torch.inf, 0.0)
            weights[:, :, rows], slots[:, :, rows] = kept, chosen
            mixed[:, :, rows] = _spread(kept, chosen, key.shape[2]).to(value.dtype) @ value
        ctx.save_for_backward(query, key, value, weights, slots)
        ctx.chunk = chunk
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mixed: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, slots = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (
            torch.zeros_like(x) if wants else None for x, wants in zip((key, value), wanted[1:3], strict=True)
        )
        for rows in _chunks(query.shape[2], ctx.chunk):
            kept, chosen, grad = weights[:, :, rows], slots[:, :, rows].long(), grad_mixed[:, :, rows]
            grad_kept = (grad @ value.mT).gather(-1, chosen)
            grad_products = _spread(kept * (grad_kept - (kept * grad_kept).sum(-1, keepdim=True)), chosen, key.shape[2])
            grad_query[:, :, rows] = grad_products @ key
            if grad_key is not None:
                grad_key += grad_products.mT @ query[:, :, rows]
            if grad_value is not None:
                grad_value += _spread(kept, chosen, key.shape[2]).mT @ grad
        return grad_query, grad_key, grad_value, None, None, None


def _chunks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _spread(entries: Tensor, slots: Tensor, count: int) -> Tensor:
    """(..., k) entries at their slots, zeros elsewhere: (..., count)."""
    return entries.new_zeros(*entries.shape[:-1], count).scatter_(-1, slots, entries)
