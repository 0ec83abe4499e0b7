"""A hidden state mixed with the embeddings of the tokens that followed similar contexts.

Yogatama, de Masson d'Autume and Kong 2021, 'Adaptive Semiparametric Language Models' (arXiv 2102.02557), section 2.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.layers.memory_share import MemoryShare

_ELEMENTS_AT_ONCE = 2**22
"""Of embeddings of neighbours, where no gradient is wanted."""


class NeighborMixture(nn.Module):
    """``z = g h + (1 - g) m`` with ``m = sum_i softmax_i(e_i h) e_i`` over neighbours and ``g = sigmoid(w h + b)``, a number.

    ``w`` begins as zeros and ``b`` as ``gate_bias_init`` (the paper has no bias). dim + 1 parameters.
    """

    def __init__(self, dim: int, gate_bias_init: float) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, gate_bias_init)
        self.share = MemoryShare()

    def forward(self, states: Tensor, tokens: Tensor, present: Tensor, embedding: nn.Embedding) -> Tensor:
        """States (P, D) to (P, D).

        Args:
            states: h.
            tokens: (P, k) int64, the neighbours' tokens, whose embeddings are the e.
            present: (P, k) truth values, which of them are there; where none is, z is h.
            embedding: of all tokens.
        """
        if torch.is_grad_enabled():
            return self._mixed(states, tokens, present, embedding)
        rows = max(1, _ELEMENTS_AT_ONCE // (tokens.shape[1] * states.shape[1]))
        parts = zip(torch.split(states, rows), torch.split(tokens, rows), torch.split(present, rows), strict=True)
        return torch.cat([self._mixed(*part, embedding) for part in parts])

    def _mixed(self, states: Tensor, tokens: Tensor, present: Tensor, embedding: nn.Embedding) -> Tensor:
        share: Tensor = self.share((1 - torch.sigmoid(self.gate(states))) * present.any(-1, keepdim=True))
        return (1 - share) * states + share * neighbor_embeddings(states, embedding(tokens), present)


def neighbor_embeddings(states: Tensor, embedded: Tensor, present: Tensor) -> Tensor:
    """m, (P, D): embeddings (P, k, D) weighted by the softmax of their products with states (P, D); 0 where none is present."""
    products = (embedded @ states.unsqueeze(-1)).squeeze(-1)
    # The least number rather than -inf, whose softmax has no gradient where nothing is present.
    weights = torch.softmax(products.masked_fill(~present, torch.finfo(products.dtype).min), dim=-1) * present
    return (weights.unsqueeze(-2) @ embedded).squeeze(-2)
