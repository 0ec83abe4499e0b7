"""Batches of similar text: BM25 over token ids, and the walk through the neighbours."""

import json
import math
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.registry import architectures
from trainables.retrieval.trime.bm25 import NEAREST, NONE, bm25_stage, cut_examples, nearest_examples, read_nearest, walk
from trainables.stages import StageContext, make_stage
from trainables.tasks._language.corpus_data import META, CorpusData, TrainingExamples, write_split

TRIME = architectures()["trime"]


def examples(count: int, length: int = 12, vocabulary: int = 40, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return list(generator.integers(0, vocabulary, (count, length)))


def scores_by_hand(texts: list[np.ndarray], query: int) -> np.ndarray:
    """BM25 as in Lucene, term after term."""
    counts = [Counter(text.tolist()) for text in texts]
    mean = sum(len(text) for text in texts) / len(texts)
    found = np.zeros(len(texts))
    for token in texts[query].tolist():
        holding = sum(token in count for count in counts)
        rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for number, count in enumerate(counts):
            pull = 1.5 * (1 - 0.75 + 0.75 * len(texts[number]) / mean)
            found[number] += rarity * count[token] / (count[token] + pull)
    return found


def test_neighbours_are_those_of_the_formula() -> None:
    texts = [text[: 8 + number % 5] for number, text in enumerate(examples(30))]
    found = nearest_examples(texts)
    assert found.shape == (30, NEAREST) and found.dtype == np.int32
    for query, row in enumerate(found):
        scores = scores_by_hand(texts, query)
        assert query not in row and len(set(row.tolist())) == NEAREST
        others = np.sort(np.delete(scores, query))[::-1][:NEAREST]
        np.testing.assert_allclose(scores[row], others, rtol=1e-4)


def test_the_neighbour_of_a_text_is_its_copy() -> None:
    texts = examples(25)
    found = nearest_examples([*texts, *texts])
    assert found[:, 0].tolist() == [*range(25, 50), *range(25)]


def test_where_there_are_few_examples_nothing_is_repeated() -> None:
    assert nearest_examples(examples(1)).tolist() == [[NONE] * NEAREST]
    found = nearest_examples(examples(4))
    assert [sorted(row[:3]) for row in found.tolist()] == [[other for other in range(4) if other != own] for own in range(4)]
    assert (found[:, 3:] == NONE).all()


def test_equal_scores_come_in_order_and_every_query_beats() -> None:
    beats: list[int] = []
    same = [np.arange(5)] * 30
    found = nearest_examples(same, beat=lambda: beats.append(1))
    assert len(beats) == 30
    assert found[7].tolist() == [number for number in range(NEAREST + 1) if number != 7]


def test_without_the_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ModuleNotFoundError, match=r"memsweep\[retrieval\].*batching: random"):
        nearest_examples(examples(3))


# -- the walk


def neighbours(count: int, seed: int, width: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(NONE, count, (count, width)).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 30), seed=st.integers(0, 999))
def test_a_walk_visits_every_example_once_and_goes_on_as_it_should(count: int, seed: int) -> None:
    nearest = neighbours(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    path = walk(order, nearest)
    assert path.dtype == order.dtype and sorted(path.tolist()) == list(range(count))
    assert path[0] == order[0] and torch.equal(path, walk(order, nearest))
    for step in range(1, count):
        seen = set(path[:step].tolist())
        wanted = [other for other in nearest[path[step - 1]].tolist() if other != NONE and other not in seen]
        rest = [other for other in order.tolist() if other not in seen]
        assert path[step] == (wanted or rest)[0]


def test_without_neighbours_the_order_stays() -> None:
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(walk(order, np.full((9, 2), NONE, dtype=np.int32)), order)


def test_neighbours_of_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="9 examples to order and neighbours of 8"):
        walk(torch.arange(9), neighbours(8, 0))


# -- the stage


class Values:
    @staticmethod
    def data_values(task: Any) -> dict[str, Any]:
        return {"seed": task.seed}


TASK = SimpleNamespace(seed=3, segments=2, input_seq_len=6, train_tokens=100, vocab_size=40)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    tokens = np.random.default_rng(0).integers(0, 40, 101, dtype=np.int32)
    for split in ("train", "fit", "val", "test"):
        write_split(folder, split, tokens, np.zeros_like(tokens))
    (folder / META).write_text(json.dumps({}))
    return folder


@pytest.mark.parametrize("count", [101, 97])
def test_examples_are_cut_as_for_training(data: Path, count: int) -> None:
    tokens = np.load(data / "train_tokens.npy")[:count]
    write_split(data, "train", tokens, np.zeros_like(tokens))
    trained = TrainingExamples(CorpusData(data), "train", 12, torch.device("cpu"))
    batches = list(trained.batches(torch.arange(len(trained)), 3))
    assert np.stack(cut_examples(tokens, 12)).tolist() == torch.cat([batch.ids for batch in batches]).tolist()


def test_the_stage_gives_a_module_its_order(data: Path, tmp_path: Path) -> None:
    values = {"variant": "ext", "dim": 8, "n_layers": 1, "n_neighbors": 4}
    model = TRIME.configuration.from_values(values)
    (stage,) = TRIME.stages(model, Values, TASK)
    folder = make_stage(stage, StageContext(tmp_path / "artifacts", data, torch.device("cpu")))
    nearest = read_nearest(folder)
    tokens = np.load(data / "train_tokens.npy")
    np.testing.assert_array_equal(nearest, nearest_examples(cut_examples(tokens, 12)))
    module: Any = TRIME.build(model, TASK)
    order = torch.randperm(len(nearest), generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="call attach first"):
        module.order_examples(order, 4)
    module.attach({"bm25": folder}, data)
    assert torch.equal(module.order_examples(order, 4), walk(order, nearest))


def test_the_stage_is_known_by_what_decides_it() -> None:
    def values(**changed: Any) -> Any:
        return bm25_stage(Values, SimpleNamespace(**{**vars(TASK), **changed})).values

    assert values() == values(vocab_size=41) == values(segments=3, input_seq_len=4)
    assert values() != values(seed=4) and values() != values(segments=3)


@pytest.mark.parametrize("values", [{"variant": "local"}, {"variant": "long"}, {"variant": "ext", "batching": "random"}])
def test_others_need_no_stage(values: dict, data: Path) -> None:
    model = TRIME.configuration.from_values({**values, "dim": 8, "n_layers": 1})
    assert list(TRIME.stages(model, Values, TASK)) == []
    module: Any = TRIME.build(model, TASK)
    module.attach({}, data)
    assert module.batching is None


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.zeros(3, dtype=np.int32), np.full((2, 3), 2, dtype=np.int32)])
def test_a_file_with_something_else_is_refused(wrong: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "nearest.npy", wrong)
    with pytest.raises(ValueError, match="remove its folder"):
        read_nearest(tmp_path)
