"""The second feed-forward layer of a block, which memories alone go through."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def add_memory_feed_forward(blocks: nn.ModuleList) -> None:
    """Gives each block a copy of its feed-forward layer and of the norm before it, frozen.

    Frozen, as memories are detached when they are stored, so no gradient could ever reach a copy.
    """
    for block in blocks:
        block.memory_norm = copy.deepcopy(block.post_attention_layernorm).requires_grad_(False)
        block.memory_mlp = copy.deepcopy(block.mlp).requires_grad_(False)


def remove_memory_feed_forward(blocks: nn.ModuleList) -> None:
    for block in blocks:
        del block.memory_norm, block.memory_mlp


def through_feed_forward(block: Any, old: Tensor, mixed: Tensor) -> Tensor:
    """What the memory ``old`` (B, S, D) becomes when its heads have read ``mixed``, as the states of tokens do in a block."""
    read = old + block.self_attn.o_proj(mixed)
    written: Tensor = read + block.memory_mlp(block.memory_norm(read))
    return written
