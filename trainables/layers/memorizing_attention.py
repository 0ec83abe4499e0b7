"""Self-attention in segments that also reads from a memory of the tokens before the segment, by a gate a head.

Wu et al. 2022, 'Memorizing Transformers' (arXiv 2203.08913), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.layers.head_mixing import HeadMixingConfiguration, key_features, query_features, value_features
from trainables.layers.memory_attention import memory_attention
from trainables.layers.memory_share import MemoryShare
from trainables.layers.projection import HeadProjection
from trainables.layers.segment_attention import Heads, before, segments
from trainables.layers.segment_model import SegmentSelfAttention


class MemorizingSelfAttention(SegmentSelfAttention):
    """``(1 - g_h) local + g_h memory`` for head h, with ``g_h = sigmoid(gate_logit_h)``.

    Local is what :class:`SegmentSelfAttention` computes. The memory holds keys without positions and values of the last
    ``memory_size`` tokens before the segment; each query reads ``n_neighbors`` of them, those of its own document with the
    largest products. A query without any gets the local result alone: its ``g_h`` is 0.

    What is stored has no gradient to the layers below. By default keys and values are those of the local attention, and the
    memory gives their projections no gradient either; projections of its own (``separate``) can learn from nothing else,
    so these are trained on how the stored tokens are read.

    With ``qk_norm`` the memory's queries and keys have unit length, and their products are multiplied by a learned factor a
    head, which begins as ``scale``; without it by ``1 / sqrt(dk)``.
    """

    def __init__(
        self,
        local: SegmentSelfAttention,
        model: HeadMixingConfiguration,
        *,
        memory_size: int,
        n_neighbors: int,
        gate_init: float,
        scale: float | None,
        separate: bool,
    ) -> None:
        nn.Module.__init__(self)
        self.proj_q, self.proj_k, self.proj_v, self.out_proj = local.proj_q, local.proj_k, local.proj_v, local.out_proj
        self.segment_len, self.cache = local.segment_len, local.cache
        self.memory_size, self.n_neighbors = memory_size, n_neighbors
        self.gate_logit = nn.Parameter(torch.full((model.n_heads,), gate_init))
        self.log_scale = None if scale is None else nn.Parameter(torch.full((model.n_heads,), scale).log())
        self.own = _projections(model, local) if separate else None
        self.share = MemoryShare()

    def mixed(self, x: Tensor, documents: Tensor | None) -> Tensor:
        """(B, S, dim) to (B, H, S, dv)."""
        query, key, value = self.proj_q.content(x), self.proj_k.content(x), self.proj_v(x)
        heads = Heads(self.proj_q.features.placed(query), self.proj_k.features.placed(key), value)
        local = self.local(x, heads, documents)
        if x.shape[1] <= self.segment_len:
            self.share(local.new_zeros(local.shape[:-1]))
            return local
        if self.own is None:
            stored = Heads(query.transpose(1, 2), key.detach().transpose(1, 2), value.detach())
        else:
            stored = self._own_heads(self.own, x)
        return torch.cat(list(self._with_memory(local, self._scaled(stored), documents)), dim=2)

    def _own_heads(self, own: nn.ModuleDict, x: Tensor) -> Heads:
        past = x.detach()
        query, key = own["proj_q"].content(x).transpose(1, 2), own["proj_k"].content(past).transpose(1, 2)  # type: ignore[operator]
        return Heads(query, key, own["proj_v"](past))

    def _scaled(self, heads: Heads) -> Heads:
        if self.log_scale is None:
            return Heads(heads.query * heads.query.shape[-1] ** -0.5, heads.key, heads.value)
        query = functional.normalize(heads.query, dim=-1) * self.log_scale.exp().view(-1, 1, 1)
        return Heads(query, functional.normalize(heads.key, dim=-1), heads.value)

    def _with_memory(self, local: Tensor, heads: Heads, documents: Tensor | None) -> Iterator[Tensor]:
        """Of each segment (B, H, T, dv)."""
        gate = torch.sigmoid(self.gate_logit).view(-1, 1)
        for segment in segments(local.shape[2], self.segment_len):
            past, part = before(segment, self.memory_size), local[:, :, segment]
            if past.start == past.stop:
                self.share(part.new_zeros(part.shape[:-1]))
                yield part
                continue
            visible = None if documents is None else documents[:, segment, None] == documents[:, None, past]
            query, key, value = heads.query[:, :, segment], heads.key[:, :, past], heads.value[:, :, past]
            read = memory_attention(query, key, value, self.n_neighbors, visible)
            sees = 1 if visible is None else visible.any(-1).unsqueeze(1)
            share = self.share((gate * sees).expand(part.shape[:-1])).unsqueeze(-1)
            yield (1 - share) * part + share * read


def _projections(model: HeadMixingConfiguration, local: SegmentSelfAttention) -> nn.ModuleDict:
    """Of the memory alone, shaped and treated as those of the local attention."""
    key_width, value_width = (part.linear.out_features // model.n_heads for part in (local.proj_k, local.proj_v))
    return nn.ModuleDict(
        {
            "proj_q": HeadProjection(model.dim, model.n_heads, key_width, query_features(model, key_width)),
            "proj_k": HeadProjection(model.dim, model.n_heads, key_width, key_features(model, key_width)),
            "proj_v": HeadProjection(model.dim, model.n_heads, value_width, value_features(model, value_width)),
        }
    )
