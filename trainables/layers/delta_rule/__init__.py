"""The delta rule behind one interface: a backend is chosen by name.

A backend is a function of (query, key, value, beta, state, chunk_size) on flattened memories, as in ``recurrent.py``. A GPU
kernel (such as flash-linear-attention's ``chunk_delta_rule``) joins as one more file beside the two and one more entry in
``_BACKENDS``, with its import inside the function, so that this package stays importable where the kernel is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from trainables.layers.delta_rule.chunked import chunked_delta_rule
from trainables.layers.delta_rule.recurrent import recurrent_delta_rule

DeltaRuleBackend = Literal["chunked", "recurrent"]

_Backend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


def _recurrent(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, state: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
    return recurrent_delta_rule(query, key, value, beta, state)


_BACKENDS: dict[DeltaRuleBackend, _Backend] = {"chunked": chunked_delta_rule, "recurrent": _recurrent}


def delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    *,
    state: Tensor | None = None,
    scale: float | None = None,
    chunk_size: int = 16,
    backend: DeltaRuleBackend = "chunked",
) -> tuple[Tensor, Tensor]:
    """Reads and writes one fast-weight memory per sequence and head; causal, a token reads its own write.

    Computed in float32 (float64 inputs in float64), autocast or not: the triangular system is not safe in half precision.

    Args:
        query, key: (B, H, T, dk), T at least 1; keys of unit length keep the memory bounded for write strengths in (0, 2).
        value: (B, H, T, dv).
        beta: (B, H, T), write strengths.
        state: (B, H, dk, dv), the memory before the first token; zeros when left out.
        scale: multiplies the query; dk^-1/2 when left out.
        chunk_size: tokens a chunk of the chunked form.
        backend: which implementation; all compute the same function.

    Returns:
        Outputs (B, H, T, dv) in the type of ``value`` and the memory after the last token (B, H, dk, dv) in float32 or float64.
    """
    batch_shape, (key_width, value_width) = key.shape[:2], (key.shape[-1], value.shape[-1])
    dtype = torch.promote_types(value.dtype, torch.float32)
    if state is None:
        state = torch.zeros(*batch_shape, key_width, value_width, dtype=dtype, device=value.device)
    scaled = query.to(dtype) * (key_width**-0.5 if scale is None else scale)
    q, k, v, b, memory = (x.to(dtype).flatten(0, 1) for x in (scaled, key, value, beta, state))
    with torch.autocast(value.device.type, enabled=False):
        output, last = _BACKENDS[backend](q, k, v, b, memory, chunk_size)
    return output.reshape(value.shape).to(value.dtype), last.reshape(state.shape)
