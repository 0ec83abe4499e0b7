"""How probable each label is behind its prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trainables.language import TokenBatch, target_log_probabilities
from trainables.tasks._multitask.validation import ValidationRows


@dataclass(frozen=True, slots=True)
class Ranking:
    """Of each row the summed log-probabilities (nats) of all labels of its task."""

    scores: Sequence[npt.NDArray[np.float64]]

    @property
    def predicted(self) -> list[int]:
        """The label with the highest one; of equal ones the first."""
        return [int(scores.argmax()) for scores in self.scores]


class Candidates:
    """Every row with every label of its task, as sequences of tokens, the shortest first."""

    def __init__(self, validation: ValidationRows) -> None:
        self._validation = validation
        labels = validation.labels
        pairs = [(place, label) for place, row in enumerate(validation.rows) for label in range(len(labels[row.task]))]
        self._pairs = sorted(pairs, key=lambda pair: self._tokens(pair))

    @property
    def tokens(self) -> int:
        """Positions of all sequences together, each without its last token, which is a target alone."""
        return sum(self._tokens(pair) - 1 for pair in self._pairs)

    def rank(self, module: nn.Module, batch_size: int, device: torch.device) -> Ranking:
        """Of a module in evaluation mode; ``batch_size`` sequences at once, which changes nothing but speed."""
        labels = self._validation.labels
        scores = [np.zeros(len(labels[row.task])) for row in self._validation.rows]
        for pairs in self._groups(batch_size):
            batch = self._batch(pairs, device)
            found = torch.where(batch.scored, target_log_probabilities(module, batch).double(), 0.0).sum(1)
            for (place, label), score in zip(pairs, found.tolist(), strict=True):
                scores[place][label] = score
        return Ranking(scores)

    def _groups(self, size: int) -> Iterator[list[tuple[int, int]]]:
        for start in range(0, len(self._pairs), size):
            yield self._pairs[start : start + size]

    def _tokens(self, pair: tuple[int, int]) -> int:
        row = self._validation.rows[pair[0]]
        return len(row.prompt) + len(self._validation.labels[row.task][pair[1]])

    def _batch(self, pairs: Sequence[tuple[int, int]], device: torch.device) -> TokenBatch:
        """(B, S), filled on the right, where no causal module looks; the tokens of the labels are scored."""
        longest = max(map(self._tokens, pairs))
        tokens = np.empty((len(pairs), longest), dtype=np.int64)
        scored = np.zeros((len(pairs), longest - 1), dtype=bool)
        for number, (place, label) in enumerate(pairs):
            row = self._validation.rows[place]
            whole = np.concatenate([row.prompt, self._validation.labels[row.task][label]])
            tokens[number, : len(whole)] = whole
            tokens[number, len(whole) :] = row.prompt[0]
            scored[number, len(row.prompt) - 1 : len(whole) - 1] = True
        ids = torch.from_numpy(tokens).to(device)
        return TokenBatch(
            ids=ids[:, :-1],
            targets=ids[:, 1:],
            documents=torch.arange(len(pairs), device=device).unsqueeze(1).expand_as(ids[:, 1:]),
            positions=torch.arange(longest - 1, device=device).expand_as(ids[:, 1:]),
            scored=torch.from_numpy(scored).to(device),
            split="val",
        )
