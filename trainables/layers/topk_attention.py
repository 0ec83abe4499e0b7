"""Causal attention to the keys with the largest products alone."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.layers.topk_lookup import largest_products, weighted_sums


def topk_attention(query: Tensor, key: Tensor, value: Tensor, n_neighbors: int, query_chunk: int) -> Tensor:
    """Causal attention in which each query reads ``n_neighbors`` keys.

    (B, H, T, dk), (B, H, T, dk), (B, H, T, dv) to (B, H, T, dv). Of each row of ``q k^T / sqrt(dk)`` the largest entries are
    kept, the softmax is taken over these, and it weighs their values. A query that sees fewer keys reads them all;
    ``n_neighbors`` beyond T is the dense attention.

    At most B * H * ``query_chunk`` * T products exist at the same time. For the backward pass are kept query, key, value and,
    of each query, ``n_neighbors`` weights and as many indices of four bytes.
    """
    k = min(n_neighbors, key.shape[-2])
    products, indices = largest_products(query * query.shape[-1] ** -0.5, key, k, chunk=query_chunk, causal=True)
    return weighted_sums(torch.softmax(products, dim=-1), indices, value, chunk=query_chunk, causal=True)
