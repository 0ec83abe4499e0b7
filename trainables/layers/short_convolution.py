"""Short depthwise causal convolution over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ShortConvolution(nn.Module):
    """Each channel becomes a weighted sum of its last ``width`` values, without bias; position 0 sees zeros before it.

    The weights start uniform within ±1/sqrt(width), as those of ``nn.Conv1d``: a standard deviation meant for matrices of
    fan-in ``dim`` would shrink the signal to almost nothing.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, width))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, T, channels) to the same shape."""
        length, width = x.shape[1], self.weight.shape[1]
        padded = functional.pad(x, (0, 0, width - 1, 0))
        # A sum of shifted products keeps the layout (B, T, channels), which a convolution routine would copy twice.
        total = padded[:, :length] * self.weight[:, 0]
        for tap in range(1, width):
            total = torch.addcmul(total, padded[:, tap : tap + length], self.weight[:, tap])
        return total
