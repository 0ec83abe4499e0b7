"""A datastore of a model's own representations of the training text, made anew for each evaluation and searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from trainables.language import TokenBatch
from trainables.memory.arithmetic import MIB
from trainables.retrieval.mixing import knn_target_probability, neighbor_weights
from trainables.retrieval.search import smallest

_PRODUCTS_AT_ONCE = 2**23
"""Inner products that exist at the same time: memory only."""


class OwnDatastore:
    """Keys (N, D) and the token behind each (N,), int32, by their position in the text; all on one device."""

    def __init__(self, keys: Tensor, tokens: Tensor, at_once: int = _PRODUCTS_AT_ONCE) -> None:
        self.keys, self.tokens, self._at_once = keys, tokens, at_once

    @classmethod
    def of(cls, batches: Iterable[TokenBatch], entries: int, encode: Callable[[Tensor], Tensor]) -> OwnDatastore:
        """The scored positions of ``batches``, which are ``entries`` in number; ``encode`` takes (B, S) to (B, S, D).

        Raises:
            ValueError: there are more or fewer.
        """
        keys, tokens, filled = torch.empty(0), torch.empty(0, dtype=torch.int32), 0
        for batch in batches:
            found = encode(batch.ids)
            if not filled:
                keys = found.new_empty((entries, found.shape[-1]))
                tokens = torch.empty(entries, dtype=torch.int32, device=found.device)
            places = batch.positions[batch.scored]
            filled += len(places)
            if filled > entries:
                break
            keys[places] = found[batch.scored]
            tokens[places] = batch.targets[batch.scored].to(torch.int32)
        if filled != entries:
            raise ValueError(f"the datastore is to have {entries:,} entries, and the text gives {filled:,}")
        return cls(keys, tokens)

    def mib(self) -> float:
        """Keys and tokens in MiB."""
        return (self.keys.nbytes + self.tokens.nbytes) / MIB

    def target_probability(
        self, queries: Tensor, targets: Tensor, n_neighbors: int, temperature: float, exclude: Tensor | None = None
    ) -> Tensor:
        """(M,) probability of ``targets`` (M,) by the entries of the largest inner products with ``queries`` (M, D).

        The weights are the softmax of the products over ``temperature``. ``exclude`` (M,) is the position that each query must
        not find: its own, where the text is that of the datastore.
        """
        size = max(1, self._at_once // len(self.keys))
        positions = torch.full_like(targets, -1) if exclude is None else exclude
        blocks = zip(*(torch.split(values, size) for values in (queries, targets, positions)), strict=True)
        return torch.cat([self._block(query, target, own, n_neighbors, temperature) for query, target, own in blocks])

    def _block(self, queries: Tensor, targets: Tensor, exclude: Tensor, n_neighbors: int, temperature: float) -> Tensor:
        distances = (queries @ self.keys.mT).neg_()
        own = (exclude >= 0).nonzero().squeeze(1)
        distances[own, exclude[own]] = torch.inf
        nearest, places = smallest(distances, n_neighbors)
        weights = neighbor_weights(nearest.to(torch.promote_types(nearest.dtype, torch.float32)), temperature)
        return knn_target_probability(weights, self.tokens[places], targets)
