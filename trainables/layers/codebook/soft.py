"""The soft read: each vector gets the average of all rows of a codebook, weighted by a softmax of their products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def soft_read(x: Tensor, codebooks: Sequence[Tensor], scale: float) -> Tensor:
    """``softmax(x C^T / scale) C``: rows are keys and values. (..., D) to (..., D).

    With G ``codebooks`` (V_g, D/G) each reads for its own part of ``x``. Codebooks of one size are read at once.
    """
    parts = split(x, len(codebooks))
    read: list[Tensor] = list(parts)
    for members in _of_one_size(codebooks):
        rows = torch.stack([codebooks[member] for member in members])
        queries = torch.stack([parts[member] for member in members]).flatten(1, -2)
        averages = torch.bmm(_weights(queries, rows, scale), rows)
        for member, average in zip(members, averages.unbind(), strict=True):
            read[member] = average.view(parts[member].shape)
    return torch.cat(read, dim=-1)


def read_weights(x: Tensor, codebooks: Sequence[Tensor], scale: float) -> list[Tensor]:
    """The weight of each row in the read of each vector: of every codebook a (..., V_g) tensor that sums to 1."""
    return [_weights(part, rows, scale) for part, rows in zip(split(x, len(codebooks)), codebooks, strict=True)]


def heaviest_rows(x: Tensor, codebooks: Sequence[Tensor]) -> list[Tensor]:
    """The row with the largest weight: of every codebook a (...) int64 tensor."""
    return [(part @ rows.mT).argmax(dim=-1) for part, rows in zip(split(x, len(codebooks)), codebooks, strict=True)]


def split(x: Tensor, groups: int) -> tuple[Tensor, ...]:
    """(..., D) to ``groups`` tensors (..., D/groups)."""
    parts: tuple[Tensor, ...] = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups).unbind(dim=-2)
    return parts


class SoftCodebooks(nn.Module):
    """The codebooks of one level, drawn from N(0, 1): buffers, or parameters where they are ``trainable``."""

    commitment_loss: Tensor | None = None

    def __init__(self, dim: int, sizes: Sequence[int], scale: float, *, trainable: bool) -> None:
        super().__init__()
        self.sizes, self.scale = tuple(sizes), scale
        for group, size in enumerate(self.sizes):
            draw = torch.randn(size, dim // len(self.sizes))
            if trainable:
                self.register_parameter(f"codebook_{group}", nn.Parameter(draw))
            else:
                self.register_buffer(f"codebook_{group}", draw)

    def codebooks(self) -> list[Tensor]:
        """The rows of each codebook, (V_g, D/G)."""
        return [getattr(self, f"codebook_{group}") for group in range(len(self.sizes))]

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """(..., D) to (..., D), in the convex hull of the rows; ``frozen`` changes nothing here."""
        return soft_read(x, self.codebooks(), self.scale)

    def weights(self, x: Tensor) -> list[Tensor]:
        """Of (..., D) vectors the weights of the rows of each codebook, (..., V_g)."""
        return read_weights(x, self.codebooks(), self.scale)

    def choose(self, x: Tensor) -> list[Tensor]:
        """Of (..., D) vectors the heaviest row of each codebook, (...) int64."""
        return heaviest_rows(x, self.codebooks())


def _weights(queries: Tensor, rows: Tensor, scale: float) -> Tensor:
    return torch.softmax((queries / scale) @ rows.mT, dim=-1)


def _of_one_size(codebooks: Sequence[Tensor]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index, rows in enumerate(codebooks):
        members.setdefault(len(rows), []).append(index)
    return list(members.values())
