"""Causal attention in segments with a cache: a token sees its own segment and the last tokens before that segment.

Dai et al. 2019, 'Transformer-XL' (arXiv 1901.02860), section 3.1. Every segment of a stretch is known at once, so the cache of a
layer is a slice of the layer's own inputs: nothing is carried from call to call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainables.layers.causal_attention import causal_attention


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries (B, H, S, dk), keys (B, H, S, dk) and values (B, H, S, dv) of a stretch."""

    query: Tensor
    key: Tensor
    value: Tensor


def segments(length: int, segment_len: int) -> Iterator[slice]:
    """The segments of ``length`` tokens; the last one may be shorter."""
    for start in range(0, length, segment_len):
        yield slice(start, min(start + segment_len, length))


def before(segment: slice, size: int) -> slice:
    """The last ``size`` tokens before a segment, fewer where the stretch has not as many."""
    return slice(max(0, segment.start - size), segment.start)


def segment_attention(own: Heads, cached: Heads | None, segment_len: int, cache: int, documents: Tensor | None) -> Tensor:
    """``softmax(q k^T / sqrt(dk)) v`` over the own segment up to the query, and the ``cache`` tokens before the segment.

    Args:
        own: of the stretch; positions, if any, count through the stretch.
        cached: keys and values by which a later segment sees the same tokens, which have no gradient to the states;
            needed where ``cache`` is not 0. Its queries are not read.
        segment_len: tokens of a segment.
        cache: tokens before a segment that it sees.
        documents: (B, S) the document of each token; of the cache a query sees tokens of its own document alone. Within a
            segment it sees all, as a model without memory does. None: one document.

    Returns:
        (B, H, S, dv).
    """
    parts = []
    for segment in segments(own.query.shape[2], segment_len):
        past = before(segment, cache)
        if cached is None or past.start == past.stop:
            parts.append(causal_attention(own.query[:, :, segment], own.key[:, :, segment], own.value[:, :, segment]))
        else:
            parts.append(_with_cache(own, cached, segment, past, documents))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _with_cache(own: Heads, cached: Heads, segment: slice, past: slice, documents: Tensor | None) -> Tensor:
    key = torch.cat((cached.key[:, :, past], own.key[:, :, segment]), dim=2)
    value = torch.cat((cached.value[:, :, past], own.value[:, :, segment]), dim=2)
    visible = _visible(segment, past, documents, key.device)
    width, wider = key.shape[-1], max(key.shape[-1], value.shape[-1])
    # The fused kernel of the CPU wants equal widths, else it keeps all weights; added zeros change no product.
    query, key, padded = (functional.pad(x, (0, wider - x.shape[-1])) for x in (own.query[:, :, segment], key, value))
    mixed = functional.scaled_dot_product_attention(query, key, padded, attn_mask=visible, scale=width**-0.5)
    return mixed[..., : value.shape[-1]]


def _visible(segment: slice, past: slice, documents: Tensor | None, device: torch.device) -> Tensor:
    """(T, M+T) or (B, 1, T, M+T) truth values: which of cache and segment a query sees."""
    length, cache = segment.stop - segment.start, past.stop - past.start
    causal = torch.ones(length, cache + length, dtype=torch.bool, device=device).tril(cache)
    if documents is None:
        return causal
    same = documents[:, segment].unsqueeze(2) == documents[:, past].unsqueeze(1)
    return causal & functional.pad(same, (0, length), value=True).unsqueeze(1)
