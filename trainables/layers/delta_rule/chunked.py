"""The delta rule a chunk of tokens at a time.

Yang et al. 2024, 'Parallelizing Linear Transformers with the Delta Rule over Sequence Length', section 3.

Within a chunk the writes form a unit lower triangular system, so that they are found by one triangular solve; only the memory
goes from chunk to chunk. What does not depend on the memory is computed for all chunks at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class _Chunks(NamedTuple):
    """Everything of N chunks of C tokens that the memory has no part in; each (G, N, C, ...)."""

    query: Tensor
    key: Tensor
    pseudo_key: Tensor
    pseudo_value: Tensor
    overlap: Tensor
    """Products of queries with the keys up to their own position, (G, N, C, C)."""


def chunked_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, beta: Tensor, state: Tensor, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """The same function as :func:`recurrent_delta_rule`, faster; a last chunk that is shorter needs no padding.

    Args:
        query, key: (G, T, dk), the query already scaled; value: (G, T, dv); beta: (G, T); state: (G, dk, dv).
        chunk_size: tokens a chunk; changes the speed, not the result.

    Returns:
        Outputs (G, T, dv) and the memory after the last token (G, dk, dv).
    """
    inputs = (query, key, value, beta)
    length = query.shape[1]
    whole = length - length % chunk_size
    outputs = []
    if whole:
        chunks = _prepare(*(x[:, :whole].reshape(len(x), -1, chunk_size, *x.shape[2:]) for x in inputs))
        output, state = _scan(chunks, state)
        outputs.append(output)
    if whole < length:
        output, state = _scan(_prepare(*(x[:, whole:].unsqueeze(1) for x in inputs)), state)
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


def _prepare(query: Tensor, key: Tensor, value: Tensor, beta: Tensor) -> _Chunks:
    size = key.shape[-2]
    interference = beta.unsqueeze(-1) * (key @ key.mT)
    identity = torch.eye(size, dtype=key.dtype, device=key.device).expand_as(interference)
    # The solver takes the diagonal as ones and reads nothing above it, so the interference needs no mask.
    inverse = torch.linalg.solve_triangular(interference, identity, upper=False, unitriangular=True)
    writes = inverse * beta.unsqueeze(-2)
    return _Chunks(query, key, writes @ key, writes @ value, (query @ key.mT).tril())


def _scan(chunks: _Chunks, state: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    # One unbind for all chunks: indexing inside the loop would make the backward pass fill a whole tensor for each chunk.
    for query, key, pseudo_key, pseudo_value, overlap in zip(*(x.unbind(1) for x in chunks), strict=True):
        written = torch.baddbmm(pseudo_value, pseudo_key, state, alpha=-1)
        outputs.append(torch.baddbmm(query @ state, overlap, written))
        state = torch.baddbmm(state, key.mT, written)
    return torch.cat(outputs, dim=1), state
