"""Causal softmax attention without a kept T x T matrix."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(dk) + causal mask) v``: (B, H, T, dk), (B, H, T, dk), (B, H, T, dv) to (B, H, T, dv)."""
    key_width, value_width = key.shape[-1], value.shape[-1]
    if query.device.type != "cpu" or key_width == value_width:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    # The fused kernel of the CPU wants equal widths, else T x T weights are kept; added zeros change no product.
    width = max(key_width, value_width)
    query, key, value = (functional.pad(x, (0, width - x.shape[-1])) for x in (query, key, value))
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=key_width**-0.5)
    return mixed[..., :value_width]
