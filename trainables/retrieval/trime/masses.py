"""A softmax over the vocabulary and a memory at once, by the masses of its two parts.

Zhong et al. 2022, 'Training Language Models with Memory Augmentation' (arXiv 2205.12674), equation 3: the memory holds
representations, each with the token that followed it, and a token's probability is the share of the logits that speak for it,
those of the memory beside that of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainables.retrieval.trime.readable import Readable

_LOGITS_AT_ONCE = 2**22
"""Elements of the logits that exist at the same time: memory only."""


class Masses(NamedTuple):
    """Logarithms of sums of exponentials of logits: over all, and over those that speak for the target."""

    every: Tensor
    right: Tensor


def joint_log_probabilities(vocabulary: Masses, memory: Masses) -> Tensor:
    """Log-probabilities (nats) of the targets; with an empty memory exactly those of the vocabulary alone."""
    return torch.logaddexp(vocabulary.right, memory.right) - torch.logaddexp(vocabulary.every, memory.every)


def memory_share(vocabulary: Masses, memory: Masses) -> Tensor:
    """The part of the probability that the memory gives, 0 to 1."""
    return torch.sigmoid(memory.every - vocabulary.every)


def vocabulary_masses(output_head: Callable[[Tensor], Tensor], states: Tensor, targets: Tensor) -> Masses:
    """Masses (…) of the output head's logits over ``states`` (…, D); without gradients in blocks."""
    flat_states, flat_targets = states.flatten(0, -2), targets.flatten()
    rows = len(flat_states)
    if not torch.is_grad_enabled():
        rows = max(1, _LOGITS_AT_ONCE // output_head(flat_states[:1]).shape[-1])
    blocks = zip(torch.split(flat_states, rows), torch.split(flat_targets, rows), strict=True)
    parts = [_vocabulary_block(output_head, *block) for block in blocks]
    return Masses(*(torch.cat(part).view(targets.shape) for part in zip(*parts, strict=True)))


def memory_masses(
    representations: Tensor,
    targets: Tensor,
    tokens: Tensor,
    readable: Readable,
    temperature: float = 1.0,
    at_once: int = _LOGITS_AT_ONCE,
) -> Masses:
    """Masses (R, Q) of a memory for queries that stand in it themselves.

    The logit of an entry is its product with the query over ``sqrt(D)`` and ``temperature``. Of a query that may read nothing the
    masses are so low that they change no sum. Gradients flow through queries and entries, once. Logits exist in blocks, which
    the backward pass computes a second time, so that only what goes in and out is kept.

    Args:
        representations: (R, Q, D), queries and entries.
        targets: (R, Q) int64.
        tokens: (R, Q) int64, the token behind each entry.
        readable: what each query may read.
        temperature: by which logits are divided besides.
        at_once: elements of the logits of a block: memory and speed only.
    """
    count = representations.shape[0] * representations.shape[1]
    scale = 1 / (math.sqrt(representations.shape[-1]) * temperature)
    logits = _Logits(targets, tokens, readable, scale, max(1, at_once // count))
    return Masses(*_MemoryMasses.apply(representations, logits))  # type: ignore[no-untyped-call]


class _Logits(NamedTuple):
    """The logits of a memory, block after block of queries."""

    targets: Tensor
    tokens: Tensor
    readable: Readable
    scale: float
    rows_at_once: int

    def blocks(self, representations: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Of each block its rows, its logits (R, q, M), what may be read and what of that speaks for the target."""
        for start in range(0, representations.shape[1], self.rows_at_once):
            rows = slice(start, min(start + self.rows_at_once, representations.shape[1]))
            logits = _wide(representations[:, rows] @ representations.mT) * self.scale
            readable = self.readable(rows).expand_as(logits)
            yield rows, logits, readable, readable & (self.targets[:, rows].unsqueeze(2) == self.tokens.unsqueeze(1))


class _MemoryMasses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, representations: Tensor, logits: _Logits) -> tuple[Tensor, Tensor]:
        every, right = [], []
        with torch.autocast(representations.device.type, enabled=False):
            for _, block, readable, speaking in logits.blocks(representations):
                # The lowest number instead of minus infinity, of which a difference would be NaN.
                nothing = torch.finfo(block.dtype).min
                every.append(block.masked_fill(~readable, nothing).logsumexp(-1))
                right.append(block.masked_fill(~speaking, nothing).logsumexp(-1))
        masses = torch.cat(every, 1), torch.cat(right, 1)
        ctx.save_for_backward(representations, *masses)
        ctx.logits = logits
        return masses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_every: Tensor, grad_right: Tensor) -> tuple[Tensor, None]:
        representations, every, right = ctx.saved_tensors
        gradient = torch.zeros_like(representations)
        for rows, block, readable, speaking in ctx.logits.blocks(representations):
            grad = _softmax_gradient(block, every[:, rows], grad_every[:, rows], readable)
            grad += _softmax_gradient(block, right[:, rows], grad_right[:, rows], speaking)
            grad = (grad * ctx.logits.scale).to(representations.dtype)
            gradient[:, rows] += grad @ representations
            gradient += grad.mT @ representations[:, rows]
        return gradient, None


def _softmax_gradient(logits: Tensor, mass: Tensor, grad: Tensor, chosen: Tensor) -> Tensor:
    """Of the logarithm of the sum of the exponentials of the chosen logits."""
    return torch.where(chosen, torch.exp(logits - mass.unsqueeze(2)) * grad.unsqueeze(2), 0)


def _vocabulary_block(output_head: Callable[[Tensor], Tensor], states: Tensor, targets: Tensor) -> Masses:
    logits = _wide(output_head(states))
    return Masses(logits.logsumexp(-1), logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1))


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
