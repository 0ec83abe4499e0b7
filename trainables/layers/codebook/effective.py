"""What several small codebooks amount to when their choices are combined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_LARGEST_INDEX = 2**63 - 1


def effective_codes(sizes: Sequence[int]) -> int:
    """Number of combinations of one row of each codebook: 32 and 32 rows make 1024."""
    return math.prod(sizes)


def combined_index(chosen: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The combination as one number below :func:`effective_codes`, in mixed radix; the first codebook's digit counts one.

    ``chosen`` has an int64 tensor of indices for each codebook, all of one shape, which is also the result's.

    Raises:
        ValueError: the lists do not agree, or there are more combinations than 64 bits can number.
    """
    if not chosen or len(chosen) != len(sizes):
        raise ValueError(f"expected indices for each of {len(sizes)} codebooks, at least one, got {len(chosen)}")
    if effective_codes(sizes) - 1 > _LARGEST_INDEX:
        raise ValueError(f"{effective_codes(sizes)} combinations do not fit 64 bits: compare the codebooks one by one")
    weights = [math.prod(sizes[:position]) for position in range(len(sizes))]
    return torch.stack([index * weight for index, weight in zip(chosen, weights, strict=True)]).sum(dim=0)
