"""Where in its window a vector stands: the only thing besides its own input that a codebook memory can know."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.layers.codebook.configuration import CodebookConfiguration
from trainables.layers.rotary import rotate

_THETA = 10000.0


class WindowPosition(nn.Module):
    """``rand``: a fixed table of ``position_std`` N(0, 1) is added; ``sin``: sinusoids are; ``rope``: vectors are turned.

    Only the random table is stored. It is indexed from the window's first step, so it tells the offset in the window and no time
    of day. Its spread must stay far below that of the encoded input: nothing else tells inputs apart.
    """

    def __init__(self, model: CodebookConfiguration) -> None:
        super().__init__()
        self.pos, self.std = model.pos, model.position_std
        if self.pos == "rand":
            self.register_buffer("table", model.position_std * torch.randn(model.block_size, model.dim))

    def add(self, x: Tensor) -> Tensor:
        """(B, T, D) encoded windows to the same shape, before normalisation.

        Raises:
            ValueError: the windows are longer than the random table.
        """
        if self.pos == "rand":
            return x + self._rows(x.shape[1])
        if self.pos == "sin":
            return x + sinusoids(x.shape[1], x.shape[2], self.std, x.device).to(x.dtype)
        return x

    def turn(self, x: Tensor) -> Tensor:
        """(B, T, D) normalised vectors to the same shape; each keeps its length."""
        return rotate(x.unsqueeze(2), _THETA).squeeze(2) if self.pos == "rope" else x

    def _rows(self, length: int) -> Tensor:
        table = self.get_buffer("table")
        if length > len(table):
            raise ValueError(f"a window of {length} steps exceeds the {len(table)} rows of the position table: raise block_size")
        return table[:length]


def sinusoids(length: int, dim: int, rms: float, device: torch.device | None = None) -> Tensor:
    """(length, dim) float64 sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5), ``dim`` even.

    Made on ``device`` (default: the CPU), since this happens in each call: a copy would keep a GPU waiting.

    Each row, and so the table, has the root mean square ``rms``.
    """
    frequencies = _THETA ** -(torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64, device=device), frequencies)
    return rms * 2**0.5 * torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
