"""A rotary causal language model that reads in windows, with an implicit memory of what lies before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainables.configuration import ConfigurationError
from trainables.counts import ParameterCounts
from trainables.language import MemoryControl, TokenBatch, head_log_probabilities
from trainables.pretrained.backbone import inspect_backbone
from trainables.pretrained.implicit_memory import costs
from trainables.pretrained.implicit_memory.attention import WindowReading, both_ways, use_memory_attention
from trainables.pretrained.implicit_memory.configuration import MemoGptConfiguration, first_token, pair_problems
from trainables.pretrained.implicit_memory.feed_forward import add_memory_feed_forward, remove_memory_feed_forward
from trainables.pretrained.implicit_memory.memory import ImplicitMemory, MemoryState
from trainables.pretrained.implicit_memory.schedule import Chunk, chunk_schedule
from trainables.pretrained.language_model import BackboneLanguageModel
from trainables.task import TokenModule

OfStates = Callable[[Tensor, Chunk], Tensor]
"""From the states (B, n, D) of the new tokens of a chunk what is wanted of them (B, n, ...)."""


class ImplicitMemoryModel(BackboneLanguageModel):
    """Sequences are read from their beginning with a memory of their own; rows of a batch know nothing of each other.

    The documents of one sequence share its window and its memory: it is cleared between sequences alone, as in the published
    runs. Full attention of the same weights does not look at documents either.
    """

    reads_stretches: ClassVar = True

    def __init__(self, model: MemoGptConfiguration, task: Any) -> None:
        super().__init__(model, task)
        self.configuration = model
        use_memory_attention(self.model)
        if model.dual_ffn:
            add_memory_feed_forward(self.blocks)

    def attach(self, folders: Mapping[str, Path], data: Path) -> None:
        if not self.configuration.dual_ffn:
            return super().attach(folders, data)
        # The copies are of the weights that come now.
        remove_memory_feed_forward(self.blocks)
        super().attach(folders, data)
        return add_memory_feed_forward(self.blocks)

    @torch.no_grad()
    def new_memory(self, batch_size: int) -> ImplicitMemory:
        """The memory before anything was read: what each layer's attention reads of S tokens that end a text, each seeing all."""
        device = next(self.parameters()).device
        ids = torch.full((1, self.configuration.short_term_memory), first_token(self.config), device=device)
        seen = self.model.base_model(input_ids=ids, use_cache=False, output_hidden_states=True, memory_reading=both_ways)
        blocks: Any = self.blocks
        initial = tuple(block.input_layernorm(states) for block, states in zip(blocks, seen.hidden_states, strict=False))
        return ImplicitMemory(initial, batch_size, self.configuration.ltm_capacity)

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Tokens (B, T) int64 to the normalised states that the output head reads (B, T, D), with a new memory."""
        return torch.cat(list(self.chunks(ids)), dim=1)

    def chunks(self, ids: Tensor, memory: ImplicitMemory | None = None) -> Iterator[Tensor]:
        """The states (B, n, D) of one piece after another; the memory is written before its piece is given.

        A caller may give a memory, which then goes on from what it is, and edit it between two pieces.

        Raises:
            ValueError: the memory has not as many rows as ``ids``.
        """
        return self._pieces(ids, lambda states, _: states, memory)

    def target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """(B, S) log-probabilities (nats) of the targets."""
        return torch.cat(list(self._pieces(batch.ids, self._of_targets(batch))), dim=1)

    def controlled_target_log_probabilities(self, batch: TokenBatch, control: MemoryControl) -> Tensor:
        """As :meth:`target_log_probabilities`, with something else in the place of the memory at every forward.

        ``cleared``: a new memory, without snapshots. ``exchanged``: of row b the memory that row b + 1 has at that point, where
        rows write their memories as without a control: each is written by a forward of its own that reads its own.

        Raises:
            ValueError: memories of a batch of one row cannot be exchanged.
        """
        if control == "exchanged" and len(batch.ids) < 2:
            raise ValueError("memories are exchanged between the rows of a batch, and this one has one: give at least two")
        return torch.cat(list(self._controlled_pieces(batch, control)), dim=1)

    def full_attention_target_log_probabilities(self, batch: TokenBatch) -> Tensor:
        """As :meth:`target_log_probabilities`, of the backbone as it was before it had a memory, positions from 0 on."""
        return head_log_probabilities(cast(TokenModule, self), super().hidden_states(batch.ids), batch.targets)

    def window_states(self, window: Tensor, state: MemoryState | None) -> Tensor:
        """(B, T) int64 to (B, T, D): one forward that writes nothing; without a ``state`` there is no memory, only the window."""
        return self._forward(window, self._reading(window, state, updates=False))

    @staticmethod
    def inspect(model: Any, task: Any) -> None:
        problems = pair_problems(model, task)
        if problems:
            raise ConfigurationError(problems)
        inspect_backbone(model, task, reads_whole=False)

    @staticmethod
    def count(model: Any, task: Any) -> ParameterCounts:
        return costs.memory_counts(model, task)

    @staticmethod
    def activation_elements(model: Any, task: Any) -> Any:
        return costs.memory_activation_elements(model, task)

    @staticmethod
    def state_elements(model: Any, task: Any) -> Any:
        """Elements kept to continue one sequence: its memories."""
        return costs.state_elements(model, task)

    def _pieces(self, ids: Tensor, of_states: OfStates, memory: ImplicitMemory | None = None) -> Iterator[Tensor]:
        memory = self._fitting(memory, len(ids))
        for chunk in self._schedule(ids):
            window = ids[:, chunk.start : chunk.end]
            reading = self._reading(window, memory.state(), updates=chunk.updates)
            piece = self._piece(window, chunk, reading, of_states)
            if chunk.updates:
                memory.write(reading.written())
            yield piece

    def _controlled_pieces(self, batch: TokenBatch, control: MemoryControl) -> Iterator[Tensor]:
        memory, of_states = self.new_memory(len(batch.ids)), self._of_targets(batch)
        for chunk in self._schedule(batch.ids):
            window = batch.ids[:, chunk.start : chunk.end]
            state = memory.state() if control == "cleared" else memory.state().exchanged()
            yield self._piece(window, chunk, self._reading(window, state, updates=False), of_states)
            if chunk.updates and control == "exchanged":
                self._write(memory, window)

    @torch.no_grad()
    def _write(self, memory: ImplicitMemory, window: Tensor) -> None:
        reading = self._reading(window, memory.state(), updates=True)
        self._forward(window, reading)
        memory.write(reading.written())

    def _piece(self, window: Tensor, chunk: Chunk, reading: WindowReading, of_states: OfStates) -> Tensor:
        def computed(tokens: Tensor) -> Tensor:
            return of_states(self._forward(tokens, reading)[:, chunk.context :], chunk)

        if self.configuration.recompute and torch.is_grad_enabled():
            again: Tensor = checkpoint(computed, window, use_reentrant=False)
            return again
        return computed(window)

    def _forward(self, window: Tensor, reading: WindowReading) -> Tensor:
        first = self.configuration.short_term_memory
        positions = torch.arange(first, first + window.shape[1], device=window.device).unsqueeze(0)
        model = self.model.base_model
        states: Tensor = model(
            input_ids=window, position_ids=positions, use_cache=False, memory_reading=reading
        ).last_hidden_state
        return states

    def _reading(self, window: Tensor, state: MemoryState | None, *, updates: bool) -> WindowReading:
        return WindowReading(self.configuration, state, self.blocks, window.shape[1], window.device, updates=updates)

    def _schedule(self, ids: Tensor) -> list[Chunk]:
        return chunk_schedule(ids.shape[1], self.configuration.input_block, self.configuration.memory_block)

    def _of_targets(self, batch: TokenBatch) -> OfStates:
        tokens = cast(TokenModule, self)
        return lambda states, chunk: head_log_probabilities(tokens, states, batch.targets[:, chunk.first : chunk.end])

    def _fitting(self, memory: ImplicitMemory | None, rows: int) -> ImplicitMemory:
        if memory is None:
            return self.new_memory(rows)
        if memory.batch_size != rows:
            raise ValueError(f"the memory has {memory.batch_size} rows and the tokens {rows}: make one with new_memory({rows})")
        return memory
