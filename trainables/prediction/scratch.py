"""What kernels of CUDA take besides their results while they run, as far as it is as large as these.

Each function gives, from the arguments of an operation, the bytes held at once in one stage after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainables.prediction.allocator import round_up

Stages = tuple[tuple[int, ...], ...]
_aten = torch.ops.aten

MATRIX_PRODUCTS = frozenset(
    (
        *(_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.baddbmm.default),
        *(_aten.mv.default, _aten.addmv.default, _aten.dot.default, _aten.linalg_solve_triangular.default),
    )
)
"""What cuBLAS does, which takes a workspace once."""

_INDEX_BYTES, _FLOAT_BYTES = 8, 4
_UNSORTED_INDICES = 3072
"""Up to so many indices the gradient of an embedding is summed without sorting them."""
_ROWS_OF_PARTIAL_SUM, _WARP = 10, 32
_TILE = 64
"""Queries and channels of a tile of the memory-efficient attention's backward pass."""
_TILE_HEADER = 16


def _embedding(grad: Tensor, indices: Tensor, rows: int, *_: Any) -> Stages:
    """``embedding_dense_backward``: indices are sorted, then summed in parts of ten rows at most."""
    count, width = indices.numel(), grad.shape[-1]
    if count <= _UNSORTED_INDICES:
        return ()
    segments = min(count, rows)
    partial = count // _ROWS_OF_PARTIAL_SUM + segments
    held = (count * _INDEX_BYTES,) * 2
    sums = partial * round_up(width, _WARP) * _FLOAT_BYTES
    return (*held, 2 * count * _INDEX_BYTES), (*held, *(segments * _INDEX_BYTES,) * 3, partial * _INDEX_BYTES, sums)


def _indexed_sum(target: Tensor, indices: list[Tensor | None], values: Tensor, accumulate: bool = False, *_: Any) -> Stages:
    """``index_put`` that accumulates, as the gradient of an indexing: the places are sorted."""
    present = [index for index in indices if index is not None]
    if not accumulate or not present:
        return ()
    count = max(index.numel() for index in present)
    return ((count * _INDEX_BYTES,) * 3 + (2 * count * _INDEX_BYTES,),)


def _attention(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Stages:
    """``_scaled_dot_product_efficient_attention_backward`` in float32: the products of outputs and their gradients, whose sums
    stay, then partial gradients of the queries in whole tiles."""
    batch, heads, length, width = query.shape
    sums = batch * heads * length * _FLOAT_BYTES
    tiles = -(-length // _TILE) * -(-width // _TILE)
    partial = batch * heads * tiles * (_TILE * _TILE * _FLOAT_BYTES + _TILE_HEADER)
    return (sums, grad.numel() * _FLOAT_BYTES), (sums, partial)


SCRATCH: dict[Any, Callable[..., Stages]] = {
    _aten.embedding_dense_backward.default: _embedding,
    _aten.index_put.default: _indexed_sum,
    _aten.index_put_.default: _indexed_sum,
    _aten._index_put_impl_.default: _indexed_sum,
    _aten._unsafe_index_put.default: _indexed_sum,
    _aten._scaled_dot_product_efficient_attention_backward.default: _attention,
}
