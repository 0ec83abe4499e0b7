"""Models over stretches of text whose attention works in segments, with a cache and perhaps a memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.layers.head_mixing import (
    HeadMixingConfiguration,
    key_features,
    output_projection,
    query_features,
    value_features,
)
from trainables.layers.projection import HeadProjection
from trainables.layers.residual import Residual
from trainables.layers.segment_attention import Heads, segment_attention
from trainables.layers.token_model import TokenModel
from trainables.sequence_length import sequence_length


class SegmentSelfAttention(nn.Module):
    """The self-attention of ``gpt``, parameter for parameter, in segments with a cache of the tokens before each.

    The cache holds the inputs of this layer, without gradient (Transformer-XL): the projections are trained on how they read
    them, what they are is not.
    """

    def __init__(self, model: HeadMixingConfiguration, key_width: int, value_width: int, segment_len: int, cache: int) -> None:
        super().__init__()
        self.proj_q = HeadProjection(model.dim, model.n_heads, key_width, query_features(model, key_width))
        self.proj_k = HeadProjection(model.dim, model.n_heads, key_width, key_features(model, key_width))
        self.proj_v = HeadProjection(model.dim, model.n_heads, value_width, value_features(model, value_width))
        self.out_proj = output_projection(model, value_width)
        self.segment_len, self.cache = segment_len, cache

    def forward(self, x: Tensor, documents: Tensor | None = None) -> Tensor:
        """(B, S, dim), and the document of each token (B, S) or None for one document, to (B, S, dim)."""
        output: Tensor = self.out_proj(x, self.mixed(x, documents))
        return output

    def mixed(self, x: Tensor, documents: Tensor | None) -> Tensor:
        """(B, S, dim) to (B, H, S, dv)."""
        return self.local(x, Heads(self.proj_q(x), self.proj_k(x), self.proj_v(x)), documents)

    def local(self, x: Tensor, heads: Heads, documents: Tensor | None) -> Tensor:
        """The projections of ``x`` to what segments and caches give, (B, H, S, dv)."""
        cached = None
        if self.cache and self.segment_len < x.shape[1]:
            past = x.detach()
            # They differ in their gradients alone.
            cached = Heads(heads.query, self.proj_k(past), self.proj_v(past)) if torch.is_grad_enabled() else heads
        return segment_attention(heads, cached, self.segment_len, self.cache, documents)


class SegmentModel(TokenModel):
    """A :class:`TokenModel` whose mixing layers take the documents of the tokens besides."""

    def __init__(self, model: Any, task: Any, segment_len: int, cache: int) -> None:
        super().__init__(model, task, self._mixer(model, segment_len, cache))

    @staticmethod
    def _mixer(model: Any, segment_len: int, cache: int) -> Callable[[], nn.Module]:
        return lambda: SegmentSelfAttention(model, model.dk, model.dv, segment_len, cache)

    def hidden_states(self, ids: Tensor, documents: Tensor | None = None) -> Tensor:
        """Stretches of tokens (B, S) int64 to the states that the output head reads (B, S, dim).

        ``documents`` (B, S) are those of the tokens, None: one. Caches and memories begin empty in every call.
        """
        x = self.embedding(ids)
        for part in (cast(Residual, part) for block in self.blocks for part in block.children()):
            x = part(x, documents) if isinstance(part.branch, SegmentSelfAttention) else part(x)
        states: Tensor = self.final_norm(x)
        return states


def segment_activations(model: Any, task: Any, reading: Any, segment_len: Any, cache: Any, *, documents: bool) -> Any:
    """Elements kept for the backward pass of ``task.input_seq_len`` tokens in segments, beyond those of ``gpt``.

    The segments joined again; of the ``reading`` tokens, those with something behind their segment, the keys and values of
    caches and, with ``documents``, what is seen of them. Fields may be NumPy arrays.
    """
    joined = (reading > 0) * model.n_heads * model.dv * sequence_length(task)
    copies = cache * model.n_heads * (model.dk + model.dv) * reading // segment_len
    seen = documents * (cache > 0) * (cache + segment_len) * reading
    return model.use_att * model.n_layers * (joined + copies + seen)
