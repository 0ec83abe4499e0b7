"""A made corpus of facts, which training tells once and the other splits repeat in other words.

What a model cannot learn by heart from one mention, a store of the training text can look up: methods that read from one must
do better here than their base, and no better where the store's values are shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainables.configuration import ConfigurationError
from trainables.language import Split

TEMPLATES = (
    "The {relation} of {subject} is {object}.",
    "As all the books say, the {relation} of {subject} is {object}.",
    "Ask whom you like: the {relation} of {subject} is {object}.",
    "It has been found that the {relation} of {subject} is {object}.",
    "Nobody doubts that the {relation} of {subject} is {object}.",
    "We have heard that the {relation} of {subject} is {object}.",
)
RELATIONS = ("birthplace", "capital", "home", "harbour", "market", "school")
OBJECTS = (
    *("Accra", "Athens", "Baghdad", "Berlin", "Bogota", "Boston", "Cairo", "Chicago", "Dakar", "Delhi", "Denver", "Dublin"),
    *("Essen", "Exeter", "Florence", "Fukuoka", "Geneva", "Glasgow", "Hanoi", "Havana", "Houston", "Ibadan", "Istanbul"),
    *("Jakarta", "Jaipur", "Kabul", "Kyoto", "Lagos", "Lima", "London", "Lyon", "Madrid", "Manila", "Mumbai", "Nairobi"),
    *("Naples", "Odessa", "Oslo", "Ottawa", "Paris", "Perth", "Prague", "Quebec", "Quito", "Reno", "Riga", "Rome", "Seoul"),
    *("Sofia", "Sydney", "Tehran", "Tokyo", "Tunis", "Ulm", "Utrecht", "Verona", "Vienna", "Warsaw", "Winnipeg", "Xian"),
    *("Yerevan", "York", "Zagreb", "Zurich"),
)
REPEATING: tuple[Split, ...] = ("fit", "val", "test")
_FACTS_OF_A_PAGE = 4
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"
_SYLLABLES = 2
"""Of a name, as long as at most a fifth of such names are taken: short names are whole in what a small model remembers."""


@dataclass(frozen=True, slots=True)
class Fact:
    subject: str
    relation: str
    object: str
    template: int
    """In which words training tells it."""

    def sentence(self, turn: int = 0) -> str:
        """In the words of training, or ``turn`` templates further."""
        return self._words(turn).format(relation=self.relation, subject=self.subject, object=self.object)

    def question(self, turn: int = 0) -> str:
        """The sentence up to its object, which answers it."""
        return self._words(turn).partition(" {object}")[0].format(relation=self.relation, subject=self.subject)

    def _words(self, turn: int) -> str:
        return TEMPLATES[(self.template + turn) % len(TEMPLATES)]


def facts_corpus(targets: Mapping[Split, int], seed: int, count_tokens: Callable[[str], int]) -> dict[str, list[str]]:
    """The documents of each split that has ``targets``, pages of a few sentences, with at least one token more than those.

    Each subject has one fact. ``train`` tells each once; of those that it has room for each is repeated in one of the other
    splits only, in other words. ``count_tokens`` gives the tokens of a document.

    Raises:
        ConfigurationError: the facts of ``train`` cannot fill another split without a sentence that is there already.
    """
    draws = np.random.default_rng(seed)
    told, pages = _tell(targets["train"], draws, count_tokens)
    shares = _shares(told, [targets[split] for split in REPEATING])
    documents = {"train": pages}
    for split, share in zip(REPEATING, shares, strict=True):
        repeated = _repeat(share, targets[split], draws, count_tokens) if targets[split] else []
        if repeated is None:
            raise _too_few(len(told), targets)
        documents[split] = repeated
    return documents


def untold_facts(pages: Sequence[str], draws: np.random.Generator) -> Iterator[Fact]:
    """Facts without end, each of a subject of its own that ``pages`` do not name."""
    named = {word for page in pages for word in page.split()}
    return (fact for fact in draw_facts(draws) if fact.subject not in named)


def draw_facts(draws: np.random.Generator) -> Iterator[Fact]:
    """Facts without end, each of another subject."""
    known: set[str] = set()
    while True:
        subject = _name(draws, _syllables(len(known)))
        if subject not in known:
            known.add(subject)
            relation, place = RELATIONS[draws.integers(len(RELATIONS))], OBJECTS[draws.integers(len(OBJECTS))]
            yield Fact(subject, relation, place, int(draws.integers(len(TEMPLATES))))


def _syllables(taken: int) -> int:
    count, names = _SYLLABLES, len(_CONSONANTS) * (len(_CONSONANTS) * len(_VOWELS)) ** _SYLLABLES
    while 5 * taken > names:
        count, names = count + 1, names * len(_CONSONANTS) * len(_VOWELS)
    return count


def _name(draws: np.random.Generator, syllables: int) -> str:
    pairs = [_CONSONANTS[draws.integers(len(_CONSONANTS))] + _VOWELS[draws.integers(len(_VOWELS))] for _ in range(syllables)]
    return "".join(pairs).capitalize() + _CONSONANTS[draws.integers(len(_CONSONANTS))]


def _tell(target: int, draws: np.random.Generator, count_tokens: Callable[[str], int]) -> tuple[list[Fact], list[str]]:
    """The facts that are told in full, in a shuffled order, and the pages."""
    source, told, pages, tokens = draw_facts(draws), list[Fact](), list[str](), 0
    while tokens <= target:
        page = [next(source) for _ in range(_FACTS_OF_A_PAGE)]
        pages.append(_page([fact.sentence() for fact in page]))
        tokens += count_tokens(pages[-1])
        told += page if tokens <= target + 1 else []
    return [told[place] for place in draws.permutation(len(told))], pages


def _shares(facts: Sequence[Fact], targets: Sequence[int]) -> list[Sequence[Fact]]:
    """The facts divided in proportion to what the splits ask for."""
    edges = [round(len(facts) * sum(targets[:place]) / max(1, sum(targets))) for place in range(len(targets) + 1)]
    return [facts[first:last] for first, last in pairwise(edges)]


def _repeat(
    facts: Sequence[Fact], target: int, draws: np.random.Generator, count_tokens: Callable[[str], int]
) -> list[str] | None:
    """Pages with more than ``target`` tokens; None where the facts do not have as many in all their other words."""
    pages: list[str] = []
    tokens = 0
    for turn in range(1, len(TEMPLATES)):
        sentences = [facts[place].sentence(turn) for place in draws.permutation(len(facts))]
        for first in range(0, len(sentences), _FACTS_OF_A_PAGE):
            pages.append(_page(sentences[first : first + _FACTS_OF_A_PAGE]))
            tokens += count_tokens(pages[-1])
            if tokens > target:
                return pages
    return None


def _too_few(told: int, targets: Mapping[Split, int]) -> ConfigurationError:
    largest = max(REPEATING, key=targets.__getitem__)
    wanted = [split for split in REPEATING if targets[split]]
    asked = sum(targets[split] for split in wanted)
    has = f"train_tokens hold {told} facts, too few to repeat them in other words on the {asked:,} tokens of {_listed(wanted)}"
    lowered = _listed([f"{split}_tokens" for split in wanted])
    return ConfigurationError([(f"{largest}_tokens", f"{has}: lower {lowered}, or raise train_tokens")])


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _page(sentences: Sequence[str]) -> str:
    return "".join(f"{sentence}\n" for sentence in sentences)
