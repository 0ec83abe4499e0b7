"""Losses by segment: how well text is predicted, by how much of it lies before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.language import TokenBatch
from trainables.tasks._language.scores import perplexity

LogProbabilities = Callable[[TokenBatch], Tensor]
"""From a batch (B, S) to the log-probabilities (B, S) of its targets, or those of its first rows."""

_LATE = 4


@dataclass(frozen=True, slots=True)
class SegmentLosses:
    """Mean nats of a token in each segment, over all crops; (n,) float64 on the CPU."""

    segments: Tensor

    @property
    def loss(self) -> float:
        """Mean nats of all tokens, as segments are equal."""
        return self.segments.mean().item()

    @property
    def late(self) -> float:
        """Mean nats of the last quarter of the segments; of fewer than four of the last one."""
        return self.segments[-max(1, len(self.segments) // _LATE) :].mean().item()

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss, 1)

    def metrics(self, part: str) -> dict[str, float]:
        """Loss, perplexity and ``segment_loss/00``…, with three digits where there are more than a hundred, under ``part``."""
        digits = max(2, len(str(len(self.segments) - 1)))
        named = {f"{part}/segment_loss/{place:0{digits}}": loss for place, loss in enumerate(self.segments.tolist())}
        return {f"{part}/loss": self.loss, f"{part}/perplexity": self.perplexity, **named}


def segment_losses(batches: Iterable[TokenBatch], log_probabilities: LogProbabilities, segment_tokens: int) -> SegmentLosses:
    """Over crops of whole segments of ``segment_tokens``; how they are divided into batches makes no difference."""
    rows = [_by_segment(log_probabilities(batch), segment_tokens) for batch in batches]
    return SegmentLosses(torch.cat(rows).mean(0))


def _by_segment(log_probabilities: Tensor, segment_tokens: int) -> Tensor:
    """(B, n * segment_tokens) to (B, n): float64 before anything is added, or the mean of means would not be the mean."""
    nats = -log_probabilities.cpu().double()
    return nats.view(len(nats), -1, segment_tokens).mean(-1)
