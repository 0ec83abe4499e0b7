"""Which codebooks are read, and how: all that distinguishes one codebook memory from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CodebookPlan:
    """Numbers and texts may be NumPy arrays (one element a candidate); the lists are lists."""

    levels: Sequence[Sequence[Any]]
    """Rows of the codebooks of each level, the level nearest the input first; those of one level share the width."""
    first_norm: bool = True
    """Whether the encoded input is normalised, with learned gains and shifts."""
    level_norm: Any = "plain"
    residual: Any = "none"
    order: Any = "dec"
    scale_by: Any = "model"

    def scale(self, dim: int, level: int) -> float:
        """What products with the rows of a level are divided by before the softmax."""
        width = dim if self.scale_by == "model" else dim // len(self.levels[level])
        return math.sqrt(width)
