"""Windows, stretches and training examples: every target once, with the context that is promised."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from language_corpora import CPU, counted_data

from trainables.language import TokenBatch
from trainables.tasks._language.corpus_data import CorpusData, TrainingExamples, as_windows, stretches, windows

over_shapes = settings(deadline=None, max_examples=120)


def scored_positions(batches: list[TokenBatch]) -> list[int]:
    return sorted(position for batch in batches for position in batch.positions[batch.scored].tolist())


def cut(data_of: dict[str, int]) -> CorpusData:
    with tempfile.TemporaryDirectory() as folder:
        return counted_data(Path(folder), **data_of)


@over_shapes
@given(st.integers(1, 80), st.integers(1, 20), st.data())
def test_sliding_windows_score_every_target_once_with_the_context_that_the_stride_leaves(count, length, data) -> None:
    stride, batch_size = data.draw(st.integers(1, length)), data.draw(st.integers(1, 5))
    batches = list(windows(cut({"val": count}), "val", length, stride, CPU, batch_size))
    assert scored_positions(batches) == list(range(count))
    for batch in batches:
        assert len(batch.ids) <= batch_size
        contexts = torch.arange(batch.ids.shape[1]).expand_as(batch.ids)
        promised = batch.positions.clamp(max=length - stride)
        assert (contexts >= promised)[batch.scored].all()
        assert batch.ids.shape[1] == length or len(batch.ids) == 1


@over_shapes
@given(st.integers(1, 80), st.integers(1, 20), st.integers(1, 5))
def test_stretches_do_not_overlap_and_score_everything(count, length, batch_size) -> None:
    batches = list(stretches(cut({"test": count}), "test", length, CPU, batch_size))
    assert torch.cat([batch.positions.flatten() for batch in batches]).tolist() == list(range(count))
    assert all(batch.scored.all() for batch in batches)


@over_shapes
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 60), st.integers(1, 4))
def test_training_scores_every_target_once_and_windows_hold_the_text_of_the_stretches(length, segments, more, batch_size) -> None:
    count = length * segments + more
    examples = TrainingExamples(cut({"train": count}), "train", length * segments, CPU)
    order = torch.randperm(len(examples))
    long = list(examples.batches(order, batch_size))
    assert scored_positions(long) == list(range(count))
    short = [as_windows(batch, length) for batch in long]
    assert scored_positions(short) == list(range(count))
    for one, other in zip(long, short, strict=True):
        assert other.ids.shape == (one.ids.shape[0] * segments, length)
        for part in ("ids", "targets", "documents", "positions", "scored"):
            assert torch.equal(getattr(one, part).flatten(), getattr(other, part).flatten())


def test_a_batch_says_of_each_token_its_target_its_document_and_its_place(tmp_path: Path) -> None:
    batch = next(windows(counted_data(tmp_path, val=30), "val", 10, 5, CPU, 4))
    assert torch.equal(batch.ids, batch.positions) and torch.equal(batch.targets, batch.positions + 1)
    assert torch.equal(batch.documents, batch.positions // 7)
    assert {values.dtype for values in (batch.ids, batch.targets, batch.documents, batch.positions)} == {torch.int64}
    assert batch.scored.dtype == torch.bool and batch.split == "val"


def test_examples_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    examples = TrainingExamples(counted_data(tmp_path, train=20), "train", 8, CPU)
    (batch,) = examples.batches(torch.tensor([2, 0, 1]), 3)
    assert batch.positions[:, 0].tolist() == [12, 0, 8]
    assert batch.scored.sum(1).tolist() == [4, 8, 8]


def test_a_split_smaller_than_an_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train has 5 targets and an example 8"):
        TrainingExamples(counted_data(tmp_path), "train", 8, CPU)
