"""The product-key memory: a large table of values of which each query reads a few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.layers.product_keys.selection import best_sums
from trainables.layers.product_keys.usage import SlotUsage

QueryNorm = Literal["layer", "batch", "none"]


class ProductKeyMemory(nn.Module):
    """Of ``n_subkeys ** 2`` values each head reads the ``n_neighbors`` whose keys have the largest products with its query.

    A key is a pair of sub-keys, one for each half of the query; each head has its own sub-keys, all heads read one table. What
    the heads read is added. Lample et al. 2019, 'Large Memory Layers with Product Keys'. With ``value_lr`` the values are
    trained at this learning rate, whatever that of the rest.
    """

    def __init__(
        self,
        dim: int,
        *,
        n_subkeys: int,
        n_neighbors: int,
        heads: int,
        query_dim: int,
        query_norm: QueryNorm = "layer",
        init_std: float = 0.02,
        value_lr: float | None = None,
    ) -> None:
        super().__init__()
        self.n_neighbors, self.value_lr = n_neighbors, value_lr
        self._usage: SlotUsage | None = None
        self.proj_q = nn.Linear(dim, heads * query_dim)
        self.query_norm = _query_norm(query_norm, heads, query_dim)
        self.subkeys = nn.Parameter(torch.empty(heads, 2, n_subkeys, query_dim // 2))
        self.values = nn.Parameter(torch.empty(n_subkeys**2, dim))
        self._initialise(init_std)

    def _initialise(self, init_std: float) -> None:
        nn.init.normal_(self.proj_q.weight, std=init_std)
        nn.init.zeros_(self.proj_q.bias)
        bound = self.subkeys.shape[-1] ** -0.5
        nn.init.uniform_(self.subkeys, -bound, bound)
        nn.init.normal_(self.values, std=self.values.shape[-1] ** -0.5)

    def learning_rates(self) -> Mapping[nn.Parameter, float]:
        """The parameters that have a learning rate of their own, with it."""
        return {} if self.value_lr is None else {self.values: self.value_lr}

    def begin_observation(self) -> None:
        """Counts from now on which slots are read."""
        self._usage = SlotUsage(len(self.values))

    def end_observation(self) -> dict[str, float]:
        """``slots/usage`` and ``slots/kl`` of what was read since the beginning; see :class:`SlotUsage`."""
        usage, self._usage = self._usage, None
        return {} if usage is None else usage.figures()

    def select(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, dim) to the slots that are read (B, T, heads, k), int64, best first, and their weights, which sum to 1."""
        heads, _, _, half = self.subkeys.shape
        queries = self.query_norm(self.proj_q(x).flatten(0, 1)).unflatten(-1, (heads, 2, half))
        first, second = torch.einsum("nhpd,hpsd->pnhs", queries, self.subkeys)
        scores, slots = best_sums(first, second, self.n_neighbors)
        shape = (*x.shape[:2], heads, self.n_neighbors)
        return slots.reshape(shape), torch.softmax(scores, -1).reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        slots, weights = self.select(x)
        if self._usage is not None:
            self._usage.add(slots, weights)
        bags, shares = slots.flatten(0, 1).flatten(1), weights.flatten(0, 1).flatten(1).to(self.values.dtype)
        read = functional.embedding_bag(bags, self.values, mode="sum", per_sample_weights=shares)
        return read.reshape(x.shape)


def _query_norm(kind: QueryNorm, heads: int, query_dim: int) -> nn.Module:
    """Over (N, heads * query_dim), with a gain and a shift for each number."""
    if kind == "layer":
        return nn.GroupNorm(heads, heads * query_dim)
    return nn.BatchNorm1d(heads * query_dim) if kind == "batch" else nn.Identity()


def product_key_parameters(model: Any) -> Any:
    """Parameters of a :class:`ProductKeyMemory`; fields of the configuration may be NumPy arrays."""
    queries = model.memory_heads * model.query_dim
    norm = (model.query_norm != "none") * 2 * queries
    return model.n_subkeys**2 * model.dim + queries * model.n_subkeys + (model.dim + 1) * queries + norm


def product_key_buffers(model: Any) -> Any:
    """Elements that the moving statistics of the batch norm hold, and its count of batches."""
    return (model.query_norm == "batch") * (2 * model.memory_heads * model.query_dim + 1)


def product_key_activations(model: Any) -> Any:
    """Elements per token kept for the backward pass, beyond the normalised input; fields may be NumPy arrays.

    Queries, before and after their norm; of each head the places of the best of each half and of the sums, the slots and their
    weights. A place or a slot is a 64-bit number and counts as two elements.
    """
    queries = model.memory_heads * model.query_dim * (1 + (model.query_norm != "none"))
    halves = (model.n_neighbors + model.n_subkeys - abs(model.n_neighbors - model.n_subkeys)) / 2
    return queries + model.memory_heads * (4 * halves + 5 * model.n_neighbors)
