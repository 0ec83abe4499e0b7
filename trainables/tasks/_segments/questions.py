"""Questions about a fact that was told at the beginning of a crop: what a memory still holds at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainables.configuration import ConfigurationError
from trainables.language import TokenBatch
from trainables.tasks._language.facts import TEMPLATES, Fact, untold_facts
from trainables.tasks._language.tokenizers import Tokenizer
from trainables.tasks._segments.crops import draws_for
from trainables.tasks._segments.losses import LogProbabilities

_FACTS_OF_A_PAGE = 4
_PARTS = ("ids", "scored", "answers")

Tokens = list[int]


@dataclass(frozen=True, slots=True)
class Questions:
    """Q questions with C candidates each, written out as crops of S tokens, one for each candidate.

    A crop begins with a document that tells C facts of different objects, which are the candidates; goes on with other facts,
    of other objects; and ends with one of the first facts in other words. So to know which objects were named is not enough.
    """

    ids: npt.NDArray[np.int32]
    """(Q, C, S + 1): the tokens and the last target."""
    scored: npt.NDArray[np.bool_]
    """(Q, C, S): whether the target is of the candidate; candidates of a question begin at the same place."""
    answers: npt.NDArray[np.int64]
    """(Q,): the candidate that is right."""

    def write(self, folder: Path) -> None:
        """``question_{ids,scored,answers}.npy``."""
        for part in _PARTS:
            np.save(folder / f"question_{part}.npy", getattr(self, part))

    @classmethod
    def read(cls, folder: Path) -> Questions:
        return cls(**{part: np.load(folder / f"question_{part}.npy", mmap_mode="r") for part in _PARTS})

    def accuracy(self, log_probabilities: LogProbabilities, batch_size: int, device: torch.device) -> float:
        """The share of questions whose right candidate has the largest summed log-probability."""
        count, candidates, length = self.scored.shape
        ids, scored = self.ids.reshape(-1, length + 1), self.scored.reshape(-1, length)
        sums = []
        for rows in torch.split(torch.arange(len(ids)), batch_size):
            batch = _batch(ids[rows.numpy()], scored[rows.numpy()], device)
            sums.append(torch.where(batch.scored, log_probabilities(batch).double(), 0.0).sum(1).cpu())
        chosen = torch.cat(sums).view(count, candidates).argmax(1).numpy()
        return float((chosen == self.answers).mean())


def make_questions(
    pages: Sequence[str], tokenizer: Tokenizer, *, length: int, count: int, candidates: int, seed: int
) -> Questions:
    """Questions of crops of ``length`` tokens, about subjects that ``pages`` do not name.

    Raises:
        ConfigurationError: a crop has no room for the facts and a question.
    """
    draws = draws_for("questions", seed)
    writer = _Writer(tokenizer, untold_facts(pages, draws), draws, length)
    outlines = [writer.outline(candidates) for _ in range(count)]
    needed = max(outline.tokens for outline in outlines) - 1  # the last one is a target alone
    if needed > length:
        message = f"a crop of {length:,} tokens has no room for facts and a question, which take up to {needed:,}"
        raise ConfigurationError([("val_length", f"{message}: raise val_length, or write n_questions: 0")])
    ids, scored = (np.stack(part) for part in zip(*map(writer.rows, outlines), strict=True))
    return Questions(ids, scored, np.array([outline.answer for outline in outlines]))


@dataclass(frozen=True, slots=True)
class _Outline:
    """The tokens of a question without what lies between its facts and the asking."""

    first: Tokens
    asking: Tokens
    candidates: list[Tokens]
    objects: set[str]
    answer: int

    @property
    def tokens(self) -> int:
        return len(self.first) + len(self.asking) + max(map(len, self.candidates))


class _Writer:
    def __init__(self, tokenizer: Tokenizer, facts: Iterator[Fact], draws: np.random.Generator, length: int) -> None:
        self._tokenizer, self._facts, self._draws, self._length = tokenizer, facts, draws, length

    def outline(self, candidates: int) -> _Outline:
        told = self._of_different_objects(candidates)
        answer = int(self._draws.integers(candidates))
        question = told[answer].question(int(self._draws.integers(1, len(TEMPLATES))))
        objects = [fact.object for fact in told]
        asking, continuations = self._continuations(question, objects)
        return _Outline(self._document([fact.sentence() for fact in told]), asking, continuations, set(objects), answer)

    def rows(self, outline: _Outline) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """The tokens of each candidate's crop and which targets are of the candidate, as in :class:`Questions`."""
        others = self._others(outline.objects, self._length + 1 - outline.tokens)
        prompt = outline.first + others + outline.asking
        ids = np.full((len(outline.candidates), self._length + 1), self._tokenizer.boundary, dtype=np.int32)
        scored = np.zeros((len(outline.candidates), self._length), dtype=np.bool_)
        for row, tokens in enumerate(outline.candidates):
            last = len(prompt) + len(tokens)
            ids[row, :last] = prompt + tokens
            scored[row, len(prompt) - 1 : last - 1] = True
        return ids, scored

    def _of_different_objects(self, count: int) -> list[Fact]:
        told: dict[str, Fact] = {}
        while len(told) < count:
            fact = next(self._facts)
            told.setdefault(fact.object, fact)
        return list(told.values())

    def _others(self, objects: set[str], room: int) -> Tokens:
        """``room`` tokens of pages with other objects; the first page is cut at its beginning."""
        tokens: Tokens = []
        others = (fact for fact in self._facts if fact.object not in objects)
        while len(tokens) < room:
            tokens += self._document([fact.sentence() for fact in islice(others, _FACTS_OF_A_PAGE)])
        return [self._tokenizer.boundary, *tokens[len(tokens) - room + 1 :]] if room else []

    def _document(self, sentences: Sequence[str]) -> Tokens:
        return [self._tokenizer.boundary, *self._encoded(["".join(f"{sentence}\n" for sentence in sentences)])[0]]

    def _continuations(self, question: str, objects: Sequence[str]) -> tuple[Tokens, list[Tokens]]:
        """The document that asks, and what each candidate adds to it: what they share of a token is asked with the question."""
        written = self._encoded([f"{question} {name}" for name in objects])
        shortest = min(map(len, written))
        shared = next((place for place in range(shortest) if len({tokens[place] for tokens in written}) > 1), shortest)
        return [self._tokenizer.boundary, *written[0][:shared]], [tokens[shared:] for tokens in written]

    def _encoded(self, texts: Sequence[str]) -> list[Tokens]:
        return [ids.tolist() for ids in self._tokenizer.encode(texts)]


def _batch(ids: npt.NDArray[np.int32], scored: npt.NDArray[Any], device: torch.device) -> TokenBatch:
    """As one document: a memory of what was told must not end with the page."""
    tokens = torch.from_numpy(ids.astype(np.int64)).to(device)
    positions = torch.arange(scored.shape[1], device=device).expand(scored.shape)
    return TokenBatch(
        ids=tokens[:, :-1],
        targets=tokens[:, 1:],
        documents=torch.zeros_like(positions),
        positions=positions,
        scored=torch.from_numpy(np.array(scored)).to(device),
        split="val",
    )
