"""Crops: where they begin, what they hold, and how they come in batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_texts import CPU, prepared, write_ids

from trainables.tasks._segments.crops import CropData, Crops, evaluation_places, training_places

sizes = st.integers(5, 5000).flatmap(lambda targets: st.tuples(st.just(targets), st.integers(1, targets)))


@settings(deadline=None)
@given(sizes, st.integers(1, 40), st.integers(0, 5))
def test_crops_lie_within_their_split(size: tuple[int, int], count: int, seed: int) -> None:
    targets, length = size
    for places in (training_places(targets, length, count, seed), evaluation_places("val", targets, length, count, seed)):
        assert places.shape == (count,) and places.min() >= 0 and places.max() + length <= targets


@settings(deadline=None)
@given(sizes, st.integers(1, 40), st.data())
def test_shorter_crops_and_more_of_them_begin_at_the_same_places(size: tuple[int, int], count: int, data: st.DataObject) -> None:
    targets, length = size
    shorter = data.draw(st.integers(1, length))
    places, more = (evaluation_places("val", targets, length, asked, 3) for asked in (count, count + 5))
    assert np.array_equal(more[:count], places)
    if length <= targets // 4:
        assert np.array_equal(evaluation_places("val", targets, shorter, count, 3), places)


def test_crops_reach_the_whole_text_that_is_trained_on() -> None:
    places = training_places(1000, 10, 20000, 0)
    assert set(places.tolist()) == set(range(991))


def test_splits_and_seeds_and_purposes_draw_places_of_their_own() -> None:
    drawn = [
        evaluation_places("val", 10000, 10, 20, 0),
        evaluation_places("val", 10000, 10, 20, 1),
        evaluation_places("train", 10000, 10, 20, 0),
        training_places(10000, 10, 20, 0),
    ]
    assert len({tuple(places) for places in drawn}) == 4


def test_a_batch_holds_the_text_at_its_places_and_the_token_behind_each(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 250, 1000)
    task = prepared(tmp_path / "data", tokens=str(write_ids(tmp_path / "ids", val=ids)))
    batch = task.data.batch("val", np.array([0, 951, 17]), 48, CPU)
    for row, place in enumerate((0, 951, 17)):
        assert batch.ids[row].tolist() == ids[place : place + 48].tolist()
        assert batch.targets[row].tolist() == ids[place + 1 : place + 49].tolist()
        assert batch.positions[row].tolist() == list(range(place, place + 48))
    assert not batch.documents.any() and batch.scored.all() and batch.split == "val"
    assert {tensor.dtype for tensor in (batch.ids, batch.targets, batch.documents, batch.positions)} == {torch.int64}


def test_crops_of_a_corpus_know_their_documents(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    batch = task.data.batch("train", np.array([0, 300]), 600, CPU)
    begun = batch.ids == 256
    assert begun[0, 0] and begun[0].sum() > 2
    assert torch.equal(batch.documents[0], begun[0].cumsum(0) - 1)
    assert torch.equal(batch.documents[0, 300:], batch.documents[1, :300])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CropData:
    folder = tmp_path_factory.mktemp("data")
    return prepared(folder / "data", tokens=str(write_ids(folder / "ids"))).data


@settings(deadline=None)
@given(st.integers(2, 12), st.integers(1, 14))
def test_in_overlapping_batches_each_crop_is_once_before_the_next_one_and_never_alone(data, count, batch_size) -> None:
    crops = Crops(data, "val", np.arange(count) * 10, 4, CPU)
    batches = [batch.positions[:, 0] // 10 for batch in crops.overlapping_batches(batch_size)]
    assert all(2 <= len(rows) <= max(2, batch_size) for rows in batches)
    assert all(torch.equal(rows[1:], (rows[:-1] + 1) % count) for rows in batches)
    assert torch.cat([rows[:-1] for rows in batches]).tolist() == list(range(count))


def test_batches_come_in_the_order_that_is_asked_for(data: CropData) -> None:
    crops = Crops(data, "train", np.arange(5) * 10, 4, CPU)
    order = torch.tensor([3, 1, 4, 0, 2])
    seen = [(batch.positions[:, 0] // 10).tolist() for batch in crops.batches(2, order)]
    assert seen == [[3, 1], [4, 0], [2]] and len(crops) == 5
