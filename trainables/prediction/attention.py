"""Which kernel CUDA takes for ``scaled_dot_product_attention``, and what it keeps.

After ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`` for devices of compute capability 8.0 or newer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_FLASH_TYPES = (torch.float16, torch.bfloat16)
_LARGEST_FLASH_WIDTH = 256
_VECTOR_BYTES = 16
_MASK_MULTIPLE = 16


def attention_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """The attention (B, H, T, dv) of ``meta`` tensors by the fused kernel of CUDA.

    NotImplemented where none fits, so that T x T weights are kept.
    """
    if query.device.type != "meta" or not _same_heads(query, key, value) or not _unit_stride(query, key, value):
        return NotImplemented
    if _flash_fits(query, value, attn_mask):
        return _aten_flash(query, key, value, dropout_p, is_causal, scale)
    if not _efficient_fits(query, value):
        return NotImplemented
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, bias, learns, dropout_p, is_causal, scale=scale)[0]


def _aten_flash(query: Tensor, key: Tensor, value: Tensor, dropout: float, causal: bool, scale: float | None) -> Tensor:
    width, rest = query.shape[-1], -query.shape[-1] % 8
    padded = [functional.pad(x, (0, rest)) if rest else x for x in (query, key, value)]
    kernel = torch.ops.aten._scaled_dot_product_flash_attention
    output: Tensor = kernel(*padded, dropout, causal, scale=width**-0.5 if scale is None else scale)[0]
    return output[..., :width] if rest else output


def _same_heads(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Fused kernels of float32 want the same number of heads and no broadcasting."""
    return query.ndim == 4 and query.shape[:2] == key.shape[:2] == value.shape[:2] and query.shape[-1] == key.shape[-1]


def _unit_stride(*tensors: Tensor) -> bool:
    return all(tensor.stride(-1) == 1 for tensor in tensors)


def _flash_fits(query: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    width = query.shape[-1]
    return query.dtype in _FLASH_TYPES and mask is None and width == value.shape[-1] and width <= _LARGEST_FLASH_WIDTH


def _efficient_fits(query: Tensor, value: Tensor) -> bool:
    if query.dtype not in (torch.float32, *_FLASH_TYPES):
        return False
    vector = _VECTOR_BYTES // query.element_size()
    return query.shape[-1] % vector == 0 and value.shape[-1] % vector == 0


def _bias(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """(B, H, T, S), of truth values the logarithm, its rows in memory a multiple of 16 long."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
    length = mask.shape[-1]
    if length % _MASK_MULTIPLE:
        mask = functional.pad(mask, (0, -length % _MASK_MULTIPLE))[..., :length]
    return mask.expand(*query.shape[:-1], key.shape[-2])
