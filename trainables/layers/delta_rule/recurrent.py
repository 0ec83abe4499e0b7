"""The delta rule one token at a time: the definition, against which every other form is tested."""

from __future__ import annotations

import torch
from torch import Tensor


def recurrent_delta_rule(query: Tensor, key: Tensor, value: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Reads and writes a fast-weight memory M, token after token (Schlag et al. 2021, section 4.2).

    ``M_t = M_{t-1} + k_t (b_t (v_t - M_{t-1}^T k_t))^T`` and ``o_t = M_t^T q_t``: a token reads its own write.

    Args:
        query, key: (G, T, dk), the query already scaled; G is any number of independent memories.
        value: (G, T, dv).
        beta: (G, T), write strengths.
        state: (G, dk, dv), the memory before the first token.

    Returns:
        Outputs (G, T, dv) and the memory after the last token (G, dk, dv).
    """
    outputs = []
    for q, k, v, b in zip(query.unbind(1), key.unbind(1), value.unbind(1), beta.unbind(1), strict=True):
        error = v - _read(state, k)
        state = state + k.unsqueeze(-1) * (b.unsqueeze(-1) * error).unsqueeze(-2)
        outputs.append(_read(state, q))
    return torch.stack(outputs, dim=1), state


def _read(state: Tensor, address: Tensor) -> Tensor:
    return (address.unsqueeze(-2) @ state).squeeze(-2)
