"""Short depthwise causal convolution over time."""

from __future__ import annotations

from torch import Tensor, nn


class ShortConvolution(nn.Conv1d):
    """Each channel becomes a weighted sum of its last ``width`` values, without bias; position 0 sees zeros before it.

    The weights keep the initialisation of ``nn.Conv1d``, uniform within ±1/sqrt(width): a standard deviation meant for matrices
    of fan-in ``dim`` would shrink the signal to almost nothing.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, channels, width, groups=channels, padding=width - 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, T, channels) to the same shape."""
        return super().forward(x.mT)[..., : x.shape[1]].mT
