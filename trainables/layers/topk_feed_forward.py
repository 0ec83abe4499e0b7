"""The feed-forward layer as a memory of which each token reads a few slots."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.layers.feed_forward import FeedForward
from trainables.layers.topk_lookup import largest_products, weighted_sums


class TopkFeedForward(nn.Module):
    """``W2 act(W1 x)`` over the ``n_neighbors`` largest entries of ``W1 x`` alone; the other hidden units count as zero.

    Rows of W1 are keys, columns of W2 values (arXiv 2106.06899). The choice is made before the activation, as there:
    with an activation that does not grow everywhere (silu, gelu) the largest inputs need not give the largest outputs.

    Takes over the weights of a :class:`FeedForward`, under the same names. At most ``chunk`` times the inner width of products
    exist at the same time.
    """

    def __init__(self, dense: FeedForward, n_neighbors: int, chunk: int) -> None:
        super().__init__()
        self.keys, self.values, self.act = dense.keys, dense.values, dense.act
        self.n_neighbors, self.chunk = min(n_neighbors, dense.keys.out_features), chunk

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        tokens = x.flatten(0, -2)
        products, slots = largest_products(tokens, self.keys.weight, self.n_neighbors, chunk=self.chunk, causal=False)
        read = weighted_sums(self.act(products), slots, self.values.weight.mT, chunk=self.chunk, causal=False)
        return read.view(*x.shape[:-1], -1)
