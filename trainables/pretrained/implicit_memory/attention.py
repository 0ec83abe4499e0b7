"""Attention over a memory and a window, in the place that transformers has for an attention function of one's own.

The library's models take attention functions from a public registry (``AttentionInterface``) and hand them what a caller gives
the model besides. So no class of the library is copied or replaced: the model makes queries, keys and values of the window and
rotates them, the function registered here adds the rows of the memory, and the model projects what it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.pretrained.implicit_memory.configuration import MemoGptConfiguration
from trainables.pretrained.implicit_memory.feed_forward import through_feed_forward
from trainables.pretrained.implicit_memory.masks import window_mask
from trainables.pretrained.implicit_memory.memory import Layers, MemoryState
from trainables.pretrained.transformers_package import transformers_library

IMPLEMENTATION = "memsweep_implicit_memory"
"""Its name in the registry."""

Reading = Callable[..., Tensor]
"""Called as ``reading(attention, query, key, value, dropout, scaling)``; queries (B, H, T, d) and the keys and values of their
heads, positions already in them, to what is mixed (B, H, T, d)."""


def use_memory_attention(model: Any) -> None:
    """Lets a model of transformers attend as the ``memory_reading`` says that it is called with; without one as before."""
    library = transformers_library()
    library.AttentionInterface.register(IMPLEMENTATION, _attention)
    library.AttentionMaskInterface.register(IMPLEMENTATION, library.AttentionMaskInterface()["sdpa"])
    model.set_attn_implementation(IMPLEMENTATION)


def _attention(
    attention: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    memory_reading: Reading | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """As the registry wants it: what is mixed is (B, T, H, d)."""
    if memory_reading is None:
        plain = transformers_library().AttentionInterface()["sdpa"]
        mixed: Tensor = plain(attention, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others)[0]
        return mixed, None
    return memory_reading(attention, query, key, value, dropout, scaling).transpose(1, 2).contiguous(), None


def both_ways(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None) -> Tensor:
    """Every row sees every row: how the first memory is made."""
    return _mixed(query, key, value, scaling=scaling)


class WindowReading:
    """One forward over a window of ``length`` tokens that reads a memory, and writes down what the memory becomes."""

    def __init__(
        self,
        model: MemoGptConfiguration,
        state: MemoryState | None,
        blocks: nn.ModuleList,
        length: int,
        device: torch.device,
        *,
        updates: bool,
    ) -> None:
        """``state`` None: there is no memory at all, only the window."""
        self._model, self._state, self._blocks, self._updates = model, state, blocks, updates
        held = 0 if state is None else len(state.snapshots)
        self._read_by_memory = min(model.visible_snapshots, held)
        self._read_by_tokens = {"all": held, "none": 0, "last_n": self._read_by_memory}[model.ltm_visible_to_input]
        columns = 0 if state is None else self._columns(self._read_by_tokens)
        self._mask = window_mask(length, model.input_block, columns, device)
        self._written: dict[int, Tensor] = {}

    def written(self) -> Layers:
        """The new short-term memory of each layer (B, S, D), once the forward has been made."""
        return tuple(self._written[layer] for layer in sorted(self._written))

    def __call__(
        self, attention: Any, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None
    ) -> Tensor:
        if self._state is None:
            return _mixed(query, key, value, self._mask, dropout, scaling)
        rows = self._rows(self._state, attention.layer_idx)
        width = key.shape[-1]
        memory_key, memory_value = _heads(attention.k_proj(rows), width), _heads(attention.v_proj(rows), width)
        # The backward pass makes the forward again, and what the memory became is known by then.
        if self._updates and attention.layer_idx not in self._written:
            self._write(attention, (memory_key, key), (memory_value, value), scaling)
        columns = self._columns(self._read_by_tokens)
        keys, values = (torch.cat([_last(one, columns), own], dim=2) for one, own in ((memory_key, key), (memory_value, value)))
        return _mixed(query, keys, values, self._mask, dropout, scaling)

    def _columns(self, snapshots: int) -> int:
        """Rows of the memory with so many snapshots, the short-term memory included."""
        return (snapshots + 1) * self._model.short_term_memory

    def _rows(self, state: MemoryState, layer: int) -> Tensor:
        """(B, R, D): the snapshots that anything reads, the oldest first, and the short-term memory."""
        needed = max(self._read_by_tokens, self._read_by_memory * self._updates)
        read = state.snapshots[len(state.snapshots) - needed :]
        return torch.cat([*(snapshot[layer] for snapshot in read), state.short_term[layer]], dim=1)

    @torch.no_grad()
    def _write(self, attention: Any, keys: tuple[Tensor, Tensor], values: tuple[Tensor, Tensor], scaling: float | None) -> None:
        """The memory reads its last snapshots, itself and the tokens that are about to leave the window."""
        assert self._state is not None
        layer, columns = attention.layer_idx, self._columns(self._read_by_memory)
        old = self._state.short_term[layer]
        key, value = (
            torch.cat([_last(memory, columns), own[:, :, : self._model.memory_block]], dim=2) for memory, own in (keys, values)
        )
        query = _heads(attention.q_proj(old), key.shape[-1])
        mixed = _mixed(query, key, value, scaling=scaling).transpose(1, 2).flatten(2)
        if self._model.dual_ffn:
            mixed = through_feed_forward(self._blocks[layer], old, mixed)
        self._written[layer] = mixed.detach()


def _mixed(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0, scaling: float | None = None
) -> Tensor:
    attend = functional.scaled_dot_product_attention
    return attend(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling, enable_gqa=True)


def _heads(projected: Tensor, width: int) -> Tensor:
    """(B, R, H * width) to (B, H, R, width)."""
    return projected.view(*projected.shape[:2], -1, width).transpose(1, 2)


def _last(rows: Tensor, count: int) -> Tensor:
    return rows[:, :, rows.shape[2] - count :]
