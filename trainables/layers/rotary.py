"""Rotary position embedding (Su et al. 2021, section 3.2.2): no parameters and no buffers."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(x: Tensor, theta: float) -> Tensor:
    """Turns ``x`` (B, T, H, d), d even, by its position along T; coordinate i forms a pair with coordinate i + d/2.

    The angles are made anew in each call: a table would count as a buffer.
    """
    length, width = x.shape[1], x.shape[-1]
    dtype = torch.promote_types(x.dtype, torch.float32)
    exponents = torch.arange(0, width, 2, device=x.device, dtype=dtype) / width
    angles = torch.outer(torch.arange(length, device=x.device, dtype=dtype), theta**-exponents).unsqueeze(1)
    cosine, sine = angles.cos(), angles.sin()
    first, second = x.to(dtype).chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1).to(x.dtype)
