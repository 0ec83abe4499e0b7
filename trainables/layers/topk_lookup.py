"""A lookup by the k largest products of each query, in chunks of queries: what is kept for the backward pass is k a query.

Gupta, Dar, Goodman, Ciprut and Berant 2021, 'Memory-efficient Transformers via Top-k Attention' (arXiv 2106.06899). Between the
two functions of this file stands what turns products into weights: a softmax, or the activation of a feed-forward layer.

Both work on one chunk of queries at a time, so that nothing is ever larger than chunk x slots, and spread weights over the
slots instead of gathering k rows a query: k rows are larger than the chunk wherever k times their width exceeds the slots,
and sums of products come out the same each time, on every device. Gradients of gradients are refused with an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def largest_products(query: Tensor, key: Tensor, k: int, *, chunk: int, causal: bool) -> tuple[Tensor, Tensor]:
    """The ``k`` largest of the products ``query key^T`` and the slots that they belong to.

    Args:
        query: (..., N, d), with the leading sizes of ``key``.
        key: (..., S, d), one row a slot.
        k: at most S.
        chunk: queries whose products exist at the same time.
        causal: query n sees the slots 0 to n alone (N at most S). Of fewer than k slots the other products are -inf.

    Returns:
        Products (..., N, k), largest first, and slots (..., N, k) int32, no slot twice. Which of several equal products are
        among them is left to ``torch.topk``: on the CPU the same ones each time, on another device perhaps other ones.
    """
    dtype = _common_type(query, key)
    products, slots = _LargestProducts.apply(query.to(dtype), key.to(dtype), k, chunk, causal)  # type: ignore[no-untyped-call]
    return products, slots


def weighted_sums(weights: Tensor, slots: Tensor, value: Tensor, *, chunk: int, causal: bool) -> Tensor:
    """Sums of the values in ``slots``: weights (..., N, k), slots (..., N, k), values (..., S, d) to (..., N, d).

    ``slots``, ``chunk`` and ``causal`` as in :func:`largest_products`.
    """
    dtype = _common_type(weights, value)
    sums: Tensor = _WeightedSums.apply(weights.to(dtype), slots, value.to(dtype), chunk, causal)  # type: ignore[no-untyped-call]
    return sums


class _LargestProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, k: int, chunk: int, causal: bool) -> tuple[Tensor, Tensor]:
        products = query.new_empty(*query.shape[:-1], k)
        slots = torch.empty(products.shape, dtype=torch.int32, device=query.device)
        for rows, columns in _chunks(query.shape[-2], key.shape[-2], k, chunk, causal):
            scores = query[..., rows, :] @ key[..., columns, :].mT
            if causal:
                scores.masked_fill_(_future(rows, columns, scores.device), -torch.inf)
            products[..., rows, :], slots[..., rows, :] = torch.topk(scores, k)
        ctx.mark_non_differentiable(slots)
        ctx.save_for_backward(query, key, slots)
        ctx.chunk, ctx.causal = chunk, causal
        return products, slots

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_products: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        query, key, slots = ctx.saved_tensors
        grad_query, grad_key = torch.empty_like(query), _accumulator(key)
        for rows, columns in _chunks(query.shape[-2], key.shape[-2], slots.shape[-1], ctx.chunk, ctx.causal):
            grad = _spread(grad_products[..., rows, :], slots[..., rows, :], columns)
            grad_query[..., rows, :] = grad @ key[..., columns, :]
            grad_key[..., columns, :] += grad.mT @ query[..., rows, :]
        return grad_query, grad_key.to(key.dtype), None, None, None


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, slots: Tensor, value: Tensor, chunk: int, causal: bool) -> Tensor:
        sums = value.new_empty(*weights.shape[:-1], value.shape[-1])
        for rows, columns in _chunks(weights.shape[-2], value.shape[-2], weights.shape[-1], chunk, causal):
            sums[..., rows, :] = _spread(weights[..., rows, :], slots[..., rows, :], columns) @ value[..., columns, :]
        ctx.save_for_backward(weights, slots, value)
        ctx.chunk, ctx.causal = chunk, causal
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        weights, slots, value = ctx.saved_tensors
        grad_weights, grad_value = torch.empty_like(weights), _accumulator(value)
        for rows, columns in _chunks(weights.shape[-2], value.shape[-2], weights.shape[-1], ctx.chunk, ctx.causal):
            grad, chosen = grad_sums[..., rows, :], slots[..., rows, :]
            grad_weights[..., rows, :] = (grad @ value[..., columns, :].mT).gather(-1, chosen.long())
            grad_value[..., columns, :] += _spread(weights[..., rows, :], chosen, columns).mT @ grad
        return grad_weights, None, grad_value.to(value.dtype), None, None


def _chunks(queries: int, slots: int, k: int, chunk: int, causal: bool) -> Iterator[tuple[slice, slice]]:
    """The queries of each chunk and the slots that they may see; never fewer than k, so that k different ones can be named."""
    for start in range(0, queries, chunk):
        end = min(start + chunk, queries)
        yield slice(start, end), slice(0, max(end, k) if causal else slots)


def _future(rows: slice, columns: slice, device: torch.device) -> Tensor:
    """Which slots come after a query: (rows, columns) truth values."""
    return torch.arange(columns.stop, device=device) > torch.arange(rows.start, rows.stop, device=device).unsqueeze(1)


def _spread(entries: Tensor, slots: Tensor, columns: slice) -> Tensor:
    """(..., n, k) entries at their slots, zeros elsewhere: (..., n, columns)."""
    return entries.new_zeros(*entries.shape[:-1], columns.stop).scatter_(-1, slots.long(), entries)


def _accumulator(x: Tensor) -> Tensor:
    """Zeros like ``x``; sums over chunks lose too much in half precision."""
    return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _common_type(first: Tensor, second: Tensor) -> torch.dtype:
    """The precision in which products are taken: that of autocast where it is on, as for any matrix product."""
    promoted, device = torch.promote_types(first.dtype, second.dtype), first.device.type
    if torch.is_autocast_enabled(device) and promoted != torch.float64:
        return torch.get_autocast_dtype(device)
    return promoted
