"""The state of the memory, which can be looked at and edited."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Layers = tuple[Tensor, ...]
"""A tensor (B, S, D) of each layer, detached."""


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What one forward reads; it stays what it is when the memory is written."""

    short_term: Layers
    snapshots: tuple[Layers, ...] = ()
    """The oldest first."""

    def exchanged(self) -> MemoryState:
        """Row b has the memory of row b + 1, the last that of the first."""
        return MemoryState(_rolled(self.short_term), tuple(map(_rolled, self.snapshots)))


class ImplicitMemory:
    """Short-term memories of each layer, and the former ones (snapshots) in a queue of ``capacity``.

    Tensors are detached when they come in, so no gradient passes from one forward to another.
    """

    def __init__(self, initial: Layers, batch_size: int, capacity: int) -> None:
        """``initial``: of each layer (1, S, D), what every row begins with."""
        self.capacity, self.batch_size = capacity, batch_size
        self._initial = tuple(tensor.detach().expand(batch_size, -1, -1) for tensor in initial)
        self.clear()

    def clear(self) -> None:
        """Back to what it is before anything was read."""
        self._short_term, self._snapshots = self._initial, list[Layers]()

    @property
    def short_term(self) -> Layers:
        return self._short_term

    @property
    def snapshots(self) -> tuple[Layers, ...]:
        """The former short-term memories that are held, the oldest first."""
        return tuple(self._snapshots)

    @property
    def elements(self) -> int:
        """Numbers in all short-term memories and snapshots of all rows."""
        return sum(tensor.numel() for layers in (self._short_term, *self._snapshots) for tensor in layers)

    def state(self) -> MemoryState:
        return MemoryState(self._short_term, self.snapshots)

    def write(self, short_term: Layers) -> None:
        """What was the short-term memory becomes the newest snapshot, and the oldest beyond the capacity is dropped.

        Raises:
            ValueError: ``short_term`` has other layers or shapes.
        """
        fitting = self._fitting(short_term)
        self._snapshots = [*self._snapshots, self._short_term][-self.capacity :]
        self._short_term = fitting

    def replace_short_term(self, layers: Layers) -> None:
        """Raises ValueError as :meth:`write` does."""
        self._short_term = self._fitting(layers)

    def remove(self, index: int) -> None:
        """Takes the snapshot ``index`` out; 0 is the oldest, -1 the newest.

        Raises:
            IndexError: there is no such snapshot.
        """
        del self._snapshots[self._place(index)]

    def replace(self, index: int, layers: Layers) -> None:
        """Puts other tensors in the place of the snapshot ``index``.

        Raises:
            IndexError: there is no such snapshot.
            ValueError: ``layers`` has other layers or shapes.
        """
        self._snapshots[self._place(index)] = self._fitting(layers)

    def _place(self, index: int) -> int:
        held = len(self._snapshots)
        if not -held <= index < held:
            raise IndexError(f"there is no snapshot {index}: the memory holds {held}, counted from 0")
        return index

    def _fitting(self, layers: Layers) -> Layers:
        wanted, found = ([tuple(tensor.shape) for tensor in part] for part in (self._initial, layers))
        if wanted != found:
            raise ValueError(
                f"a memory of {len(wanted)} layers with tensors {wanted[0]} cannot take {len(found)} with {found[:1]}: "
                "give one tensor (B, S, D) for each layer"
            )
        return tuple(tensor.detach() for tensor in layers)


def _rolled(layers: Layers) -> Layers:
    return tuple(torch.roll(tensor, -1, dims=0) for tensor in layers)
