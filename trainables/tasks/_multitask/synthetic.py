"""Six made tasks over a vocabulary of 200 words, with rules for labels; the prompts and labels are those of the public datasets.

Which words mean what is drawn from the seed, so that another seed is another language with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from trainables.tasks._multitask.datasets import DATASETS, Example, Examples

SYNTHETIC = "synthetic"
TRAIN_ROWS, VALIDATION_ROWS = 500, 100

_CONSONANTS = "bcdfghjklmnpqrstvwxz"
_TOPIC, _KINDS, _EVENT = ("or", "un", "ey"), ("an", "el", "im"), ("uto", "ake", "ydi")
_PLAIN = [vowel + consonant + end for end in ("a", "ik", "o", "e") for vowel in "aeiou" for consonant in _CONSONANTS][:65]


def _with_endings(endings: Sequence[str], letters: str) -> list[list[str]]:
    return [[letter + ending for letter in letters] for ending in endings]


_TOPIC_WORDS = _with_endings(_TOPIC, _CONSONANTS)
_KIND_WORDS = _with_endings(_KINDS, _CONSONANTS[:10])
_EVENT_WORDS = _with_endings(_EVENT, _CONSONANTS[:15])
WORDS = (*chain(*_TOPIC_WORDS, *_KIND_WORDS, *_EVENT_WORDS), *_PLAIN)
"""As in a real language the form of a word tells something of its meaning."""

_ASKED = ("who", "where", "when")
Row = tuple[dict[str, Any], int]
"""The texts of a row and its label."""


class Language:
    """What the words mean, and the generators of rows."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([seed, 0])
        self.topics = [[words[place] for words in _TOPIC_WORDS] for place in draw.permutation(len(_CONSONANTS))]
        """Three words of each class."""
        self.kinds = [_KIND_WORDS[place] for place in draw.permutation(3)]
        """Persons, places and times."""
        kinds = [_EVENT_WORDS[place] for place in draw.permutation(3)]
        self.causes, self.events, self.effects = (_some(draw, words, len(words)) for words in kinds)
        """The words of one place belong together."""
        plain = _some(draw, _PLAIN, len(_PLAIN))
        self.things, self.plain = plain[:8], plain[8:]
        """Plain words mean nothing; things are what lookups ask for."""

    def newsgroups(self, draw: np.random.Generator) -> Row:
        """The topic of most words is the class."""
        label = int(draw.integers(20))
        topical = [self.topics[label][place] for place in draw.integers(3, size=3)]
        return {"text": _shuffled(draw, [*topical, *_some(draw, self.plain, 1)])}, label

    def boolq(self, draw: np.random.Generator) -> Row:
        """True where the passage holds the word that is asked for."""
        passage = _some(draw, self.things, 3)
        label = int(draw.integers(2))
        asked = passage[int(draw.integers(3))] if label else _other(draw, self.things, passage)
        return {"question": f"is there {asked}?", "passage": " ".join(passage)}, label

    def copa(self, draw: np.random.Generator) -> Row:
        """Every event has a cause and an effect; both are offered, and one is asked for."""
        event, swapped, asked = (int(draw.integers(high)) for high in (15, 2, 2))
        choices = [self.causes[event], self.effects[event]]
        first, second = reversed(choices) if swapped else choices
        premise = _shuffled(draw, [self.events[event], *_some(draw, self.plain, 2)])
        row = {"premise": premise, "choice1": first, "choice2": second, "question": ("cause", "effect")[asked]}
        return row, int(asked != swapped)

    def cb(self, draw: np.random.Generator) -> Row:
        """The hypothesis holds a word of the premise, denies one, or says something else."""
        premise = _some(draw, self.plain, 3)
        label = int(draw.integers(3))
        word = _other(draw, self.plain, premise) if label == 2 else premise[int(draw.integers(3))]
        return {"premise": " ".join(premise), "hypothesis": f"not {word}" if label == 1 else word}, label

    def race(self, draw: np.random.Generator) -> Row:
        """The right option is the one word of the context that is offered."""
        context, label = _some(draw, self.things, 3), int(draw.integers(4))
        others = _some(draw, [word for word in self.things if word not in context], 3)
        options = [*others[:label], context[int(draw.integers(3))], *others[label:]]
        return {"article": " ".join(context), "question": "what is there?", "options": options}, label

    def qnli(self, draw: np.random.Generator) -> Row:
        """The sentence answers where it holds a word of the kind that is asked for, not one of another kind, or none."""
        asked, label = int(draw.integers(3)), int(draw.integers(2))
        other = (asked + int(draw.integers(1, 3))) % 3
        kinds = [asked] if label == 0 else [other] if draw.integers(3) == 0 else []
        told = [_some(draw, self.kinds[kind], 1)[0] for kind in kinds]
        sentence = _shuffled(draw, [*told, *_some(draw, self.plain, 3 - len(told))])
        return {"question": f"{_ASKED[asked]}?", "sentence": sentence}, label


def synthetic_examples(name: str, seed: int, train: int, validation: int) -> Examples:
    """The first rows of one made dataset: at most 500 and 100, no two alike."""
    language, dataset = Language(seed), DATASETS[name]
    draw = np.random.default_rng([seed, 1 + list(DATASETS).index(name)])
    rows = islice(_distinct(lambda: _GENERATORS[name](language, draw)), TRAIN_ROWS + VALIDATION_ROWS)
    examples = [Example(dataset.prompt(texts), label) for texts, label in rows]
    return Examples(examples[:TRAIN_ROWS][:train], examples[TRAIN_ROWS:][:validation])


_GENERATORS: dict[str, Callable[[Language, np.random.Generator], Row]] = {
    "20_newsgroups": Language.newsgroups,
    "boolq": Language.boolq,
    "copa": Language.copa,
    "cb": Language.cb,
    "race_high": Language.race,
    "qnli": Language.qnli,
}


def _distinct(made: Callable[[], Row]) -> Iterator[Row]:
    seen = set()
    while True:
        texts, label = made()
        if (told := repr(texts)) not in seen:
            seen.add(told)
            yield texts, label


def _some(draw: np.random.Generator, words: Sequence[str], count: int) -> list[str]:
    """Different ones."""
    return [words[place] for place in draw.choice(len(words), count, replace=False)]


def _other(draw: np.random.Generator, words: Sequence[str], than: Sequence[str]) -> str:
    return _some(draw, [word for word in words if word not in than], 1)[0]


def _shuffled(draw: np.random.Generator, words: Sequence[str]) -> str:
    return " ".join(_some(draw, words, len(words)))
