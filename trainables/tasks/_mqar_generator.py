"""Examples of multi-query associative recall, drawn for many rows at once with the laws of Zoology's row-by-row generator.

Source: Arora et al. 2023, "Zoology: Measuring and Improving Recall in Efficient Language Models", section 3 and the file
``data/multiquery_ar.py`` of HazyResearch/zoology.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntegerArray = npt.NDArray[np.int32]

UNLABELLED = -100
_POOL_ELEMENTS = 2**22
"""Elements of the largest temporary array; it sets how many rows are drawn at once, hence also which numbers are drawn."""


@dataclass(frozen=True, slots=True)
class RecallExamples:
    """``inputs`` (n, T) token ids; ``positions`` (n, P) where key j is asked again; ``answers`` (n, P) the values due there."""

    inputs: IntegerArray
    positions: IntegerArray
    answers: IntegerArray

    def labels(self) -> IntegerArray:
        """The answers as a dense (n, T) array, -100 where nothing is asked."""
        dense = np.full_like(self.inputs, UNLABELLED)
        np.put_along_axis(dense, self.positions, self.answers, axis=1)
        return dense


@dataclass(frozen=True, slots=True)
class RecallLaw:
    """The distribution of examples; the fields are those of the task's configuration."""

    vocab_size: int
    input_seq_len: int
    num_kv_pairs: int
    power_a: float
    random_non_queries: bool

    def generate(self, count: int, seed: int) -> Iterator[RecallExamples]:
        """``count`` independent examples in chunks of bounded memory; the same numbers for the same seed."""
        generator = np.random.default_rng(seed)
        rows = max(1, _POOL_ELEMENTS // self.vocab_size)
        for start in range(0, count, rows):
            yield self._chunk(min(rows, count - start), generator)

    def slot_probabilities(self) -> npt.NDArray[np.float64]:
        """The chance of each query slot for the first draw, proportional to a * i^(a - 1) for i = 1 .. (T - 2P) / 2."""
        ranks = np.arange(1, (self.input_seq_len - 2 * self.num_kv_pairs) // 2 + 1, dtype=np.float64)
        weights = self.power_a * ranks ** (self.power_a - 1)
        return np.asarray(weights / weights.sum())

    def _chunk(self, rows: int, generator: np.random.Generator) -> RecallExamples:
        half, pairs = self.vocab_size // 2, self.num_kv_pairs
        keys = _distinct(1, half, pairs, rows, generator)
        values = _distinct(half, self.vocab_size, pairs, rows, generator)
        positions = 2 * pairs + 2 * _weighted_distinct(self.slot_probabilities(), pairs, rows, generator)
        inputs = np.zeros((rows, self.input_seq_len), dtype=np.int32)
        inputs[:, 0 : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = keys, values
        np.put_along_axis(inputs, positions, keys, axis=1)
        if self.random_non_queries:
            blanks = inputs == 0
            inputs[blanks] = generator.integers(0, self.vocab_size, size=int(blanks.sum()), dtype=np.int32)
        return RecallExamples(inputs, positions, values)


def _distinct(low: int, high: int, count: int, rows: int, generator: np.random.Generator) -> IntegerArray:
    """(rows, count) ids of low .. high - 1, distinct in a row, each order equally likely (Fisher-Yates for all rows at once)."""
    pool = np.tile(np.arange(low, high, dtype=np.int32), (rows, 1))
    every_row = np.arange(rows)
    for place in range(count):
        chosen = generator.integers(place, high - low, size=rows)
        taken = pool[every_row, chosen]
        pool[every_row, chosen] = pool[:, place]
        pool[:, place] = taken
    return pool[:, :count].copy()


def _weighted_distinct(
    probabilities: npt.NDArray[np.float64], count: int, rows: int, generator: np.random.Generator
) -> IntegerArray:
    """(rows, count) slots in the order of weighted draws without replacement.

    Independent exponential clocks with the weights as rates ring in exactly that order (Efraimidis and Spirakis 2006).
    """
    ringing = generator.standard_exponential((rows, probabilities.size)) / probabilities
    return np.argsort(ringing, axis=1)[:, :count].astype(np.int32)
