"""Losses by segment: their mean is the loss, whatever the batches."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.tasks._segments.losses import SegmentLosses, segment_losses


def measured(log_probabilities: Tensor, batch_size: int, segment_tokens: int) -> SegmentLosses:
    batches = [cast(Any, SimpleNamespace(rows=rows)) for rows in torch.split(log_probabilities, batch_size)]
    return segment_losses(batches, lambda batch: cast(Any, batch).rows, segment_tokens)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 8), st.integers(1, 10), st.integers(0, 1000))
def test_segments_have_the_mean_of_their_tokens_and_all_of_them_the_mean_of_all(crops, segments, size, batch, seed) -> None:
    drawn = torch.randn(crops, segments * size, generator=torch.Generator().manual_seed(seed)) * 10 - 5
    losses = measured(drawn, batch, size)
    for place in range(segments):
        tokens = [-value for row in drawn.tolist() for value in row[place * size : (place + 1) * size]]
        assert losses.segments[place].item() == pytest.approx(math.fsum(tokens) / len(tokens), abs=1e-12)
    everything = [-value for row in drawn.tolist() for value in row]
    named = losses.metrics("val")
    by_segment = [value for name, value in named.items() if name.startswith("val/segment_loss/")]
    assert len(by_segment) == segments
    assert named["val/loss"] == pytest.approx(math.fsum(everything) / len(everything), abs=1e-12)
    assert named["val/loss"] == pytest.approx(math.fsum(by_segment) / segments, abs=1e-12)
    assert named["val/perplexity"] == math.exp(named["val/loss"])
    assert losses.late == pytest.approx(math.fsum(by_segment[-max(1, segments // 4) :]) / max(1, segments // 4), abs=1e-12)
    assert torch.equal(losses.segments, measured(drawn, crops, size).segments)


@pytest.mark.parametrize(("segments", "last"), [(1, "00"), (32, "31"), (100, "99"), (101, "100")])
def test_segments_are_named_so_that_names_sort_as_they_follow(segments: int, last: str) -> None:
    names = [name for name in measured(-torch.ones(1, segments), 1, 1).metrics("val") if "/segment_loss/" in name]
    assert names == sorted(names) and names[-1] == f"val/segment_loss/{last}"


def test_an_endless_loss_is_a_large_perplexity() -> None:
    assert measured(torch.full((2, 4), -1e4), 1, 2).metrics("val")["val/perplexity"] == math.exp(700)
