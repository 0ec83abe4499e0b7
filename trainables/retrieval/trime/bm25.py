"""Batches of similar text: the examples that BM25 finds for each, and the walk through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.stages import Stage, StageContext
from trainables.tasks._language.corpus_data import CorpusData
from trainables.training.protocol import no_beat

IntArray = npt.NDArray[np.int32]

NEAREST = 20
"""Examples found for each."""
NONE = -1
"""Fills the rows where there are fewer others."""
_FILE = "nearest.npy"
_BM25 = {"method": "lucene", "k1": 1.5, "b": 0.75}


def bm25_stage(task_type: Any, task: Any) -> Stage:
    """The stage ``bm25``: for each training example of ``task.segments`` windows those that BM25 ranks highest."""
    length = task.segments * task.input_seq_len
    values = {"data": task_type.data_values(task), "example_tokens": length, "nearest": NEAREST, **_BM25}

    def make(folder: Path, context: StageContext) -> None:
        tokens = CorpusData(context.data).tokens["train"]
        np.save(folder / _FILE, nearest_examples(cut_examples(tokens, length), beat=context.beat))

    return Stage("bm25", "similar training examples by BM25", values, make)


def read_nearest(folder: Path) -> IntArray:
    """What the stage ``bm25`` wrote: (n, 20) int32.

    Raises:
        ValueError: the file holds something else.
    """
    nearest = np.load(folder / _FILE)
    if nearest.dtype != np.int32 or nearest.ndim != 2 or (nearest < NONE).any() or (nearest >= len(nearest)).any():
        raise ValueError(f"{folder / _FILE} is no list of neighbours: remove its folder, it will be made again")
    return np.asarray(nearest)


def cut_examples(tokens: npt.NDArray[Any], length: int) -> list[npt.NDArray[Any]]:
    """The training examples of n + 1 tokens, in order; the last one ends with the text, so it may begin in the one before."""
    count = len(tokens) - 1
    return [tokens[start : start + length] for start in np.minimum(np.arange(0, count, length), max(0, count - length))]


def nearest_examples(examples: Sequence[npt.NDArray[Any]], count: int = NEAREST, beat: Callable[[], None] = no_beat) -> IntArray:
    """(n, count) int32: for each example the others with the highest BM25 score for it, the best first, equals in order.

    Words are token ids. Where there are fewer others, -1 follows. Lucene's variant with k1 = 1.5 and b = 0.75.

    Raises:
        ModuleNotFoundError: bm25s is not installed.
    """
    texts = [[str(token) for token in example.tolist()] for example in examples]
    found = np.full((len(examples), count), NONE, dtype=np.int32)
    for number, scores in enumerate(_scores(texts)):
        scores[number] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(count, len(examples) - 1)]
        found[number, : len(best)] = best
        beat()
    return found


def walk(order: Tensor, nearest: IntArray) -> Tensor:
    """A new order (n,) of the examples in which neighbours follow each other.

    It starts at ``order[0]`` and goes on to the first of the nearest that was not there yet, or else to the next such of
    ``order``: a permutation of (n,), which decides all that is random.

    Raises:
        ValueError: ``nearest`` is of another number of examples.
    """
    if len(order) != len(nearest):
        raise ValueError(f"there are {len(order):,} examples to order and neighbours of {len(nearest):,}: made for another task")
    rows, waiting, unused, path = nearest.tolist(), order.tolist(), np.ones(len(nearest), dtype=bool).tolist(), []
    ahead = iter(waiting)
    current = next(ahead, None)
    while current is not None:
        path.append(current)
        unused[current] = False
        current = next((other for other in rows[current] if other != NONE and unused[other]), None)
        if current is None:
            current = next((other for other in ahead if unused[other]), None)
    return torch.tensor(path, dtype=order.dtype, device=order.device)


def _scores(texts: list[list[str]]) -> Iterator[npt.NDArray[np.float32]]:
    """Of each text as a query the scores of all."""
    try:
        import bm25s
    except ModuleNotFoundError as error:
        cure = "pip install 'memsweep[retrieval]', or set batching: random"
        raise ModuleNotFoundError(f"batching: bm25 needs the package bm25s: {cure}") from error
    index = bm25s.BM25(**_BM25)
    index.index(texts, show_progress=False)
    return (index.get_scores(text) for text in texts)
