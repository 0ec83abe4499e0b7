"""What the tokens of a window see."""

from __future__ import annotations

import torch
from torch import Tensor


def window_mask(length: int, input_block: int, memory_columns: int, device: torch.device | str = "cpu") -> Tensor:
    """(length, memory_columns + length) bool, True where a row sees a column.

    A token sees all memory and the ``input_block`` tokens that end with itself.
    """
    # Not an inference tensor: the backward pass of a later forward may need it.
    with torch.inference_mode(False):
        row = torch.arange(length, device=device).unsqueeze(1)
        column = row.mT
        seen = (column <= row) & (column > row - input_block)
        return torch.cat([torch.ones(length, memory_columns, dtype=torch.bool, device=device), seen], dim=1)
