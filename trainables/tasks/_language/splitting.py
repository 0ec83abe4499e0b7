"""From documents to the tokens of splits of exact size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainables.configuration import ConfigurationError
from trainables.language import Split
from trainables.tasks._language.corpus_data import IntArray
from trainables.tasks._language.tokenizers import Ids, Tokenizer

_DOCUMENTS_AT_ONCE = 16

_SOURCES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "fit": ("fit", "validation", "train"),
    "val": ("val", "validation", "train"),
    "test": ("test", "validation", "train"),
}
"""Of which part of a corpus a split is taken: the first of these that the corpus has."""

_KIND: dict[Split, str] = {"train": "train", "fit": "validation", "val": "validation", "test": "test"}
"""The part from which a split is taken in a corpus that has all three."""


@dataclass(frozen=True, slots=True)
class SplitTokens:
    """The tokens of a split, int32 (n + 1,), the number of each token's document, and what their text has besides."""

    tokens: IntArray
    documents: IntArray
    bytes: int
    words: int
    """Stretches of text between white space."""


@dataclass(frozen=True, slots=True)
class _Place:
    document: int
    token: int = 0


class _Exhausted(Exception):
    pass


def split_corpus(
    parts: Mapping[str, Sequence[str]], targets: Mapping[Split, int], tokenizer: Tokenizer, seed: int
) -> dict[Split, SplitTokens]:
    """The tokens of each split that has targets: one more than those, each document begun by the boundary token.

    ``parts`` are the documents of ``train``, and perhaps of ``validation`` and ``test``. Splits that share a part are taken one
    behind the other: by whole documents where there is enough text, else a document is divided, at the end of a paragraph or a
    line if possible. The documents of a part that also gives what usually is another one are shuffled by ``seed`` before.

    Raises:
        ConfigurationError: a part has no text, or fewer tokens than its splits ask for.
    """
    found: dict[Split, SplitTokens] = {}
    for part, splits in _by_part(parts, [split for split in _SOURCES if targets[split]]).items():
        count = len(parts[part])
        shuffled = len({_KIND[split] for split in splits}) > 1
        order = np.random.default_rng(seed).permutation(count) if shuffled else np.arange(count)
        stream = _DocumentStream(parts[part], order.tolist(), tokenizer)
        if not stream.has_text():
            raise ConfigurationError([("corpus", f"there is no text for {part}: give a corpus with text")])
        sizes = {split: targets[split] + 1 for split in splits}
        try:
            found |= {
                split: stream.take(sizes[split], sum(list(sizes.values())[place + 1 :])) for place, split in enumerate(splits)
            }
        except _Exhausted:
            raise _too_few(part, stream.total() - len(splits), {split: targets[split] for split in splits}) from None
    return found


def _by_part(parts: Mapping[str, Sequence[str]], wanted: Iterable[Split]) -> dict[str, list[Split]]:
    grouped: dict[str, list[Split]] = {}
    for split in wanted:
        grouped.setdefault(next(source for source in _SOURCES[split] if source in parts), []).append(split)
    return grouped


def _too_few(part: str, available: int, asked: Mapping[Split, int]) -> ConfigurationError:
    names = " + ".join(f"{split}_tokens" for split in asked)
    asks = "asks" if len(asked) == 1 else "ask"
    where = "" if "train" in asked and len(asked) > 1 else f" for {part}"
    message = f"the corpus has {max(0, available):,} tokens{where} and {names} {asks} for {sum(asked.values()):,}: lower"
    return ConfigurationError([(f"{list(asked)[-1]}_tokens", f"{message} {'it' if len(asked) == 1 else 'them'}")])


class _DocumentStream:
    """Documents that are read and tokenised as far as they are asked for, and taken from the front; blank ones are left out."""

    def __init__(self, documents: Sequence[str], order: Sequence[int], tokenizer: Tokenizer) -> None:
        self._documents, self._order, self._tokenizer = documents, order, tokenizer
        self._texts: list[str] = []
        self._encoded: list[Ids] = []
        self._read = 0
        self._next = _Place(0)

    def has_text(self) -> bool:
        return self._has(_Place(0), 1)

    def take(self, count: int, later: int) -> SplitTokens:
        """The next ``count`` tokens; what follows is chosen so that it has ``later`` tokens, if there are as many."""
        pieces: list[tuple[_Place, int]] = []
        missing = count
        while missing:
            length = min(missing, self._length(self._next))
            pieces.append((self._next, length))
            missing -= length
            if missing or length == self._length(self._next):
                self._next = _Place(self._next.document + 1)
            else:
                self._next = self._continued(_Place(self._next.document, self._next.token + length - 1), later)
        return self._joined(pieces)

    def total(self) -> int:
        """Tokens of all documents."""
        while self._read_more():
            pass
        return sum(1 + len(ids) for ids in self._encoded)

    def _ids(self, document: int) -> Ids:
        while document >= len(self._encoded):
            if not self._read_more():
                raise _Exhausted
        return self._encoded[document]

    def _read_more(self) -> bool:
        chosen = self._order[self._read : self._read + _DOCUMENTS_AT_ONCE]
        texts = [text for place in chosen if (text := self._documents[place]).strip()]
        self._texts += texts
        self._encoded += self._tokenizer.encode(texts)
        self._read += len(chosen)
        return bool(chosen)

    def _length(self, place: _Place) -> int:
        """Tokens from ``place`` to the end of its document, and a boundary."""
        return 1 + len(self._ids(place.document)) - place.token

    def _continued(self, cut: _Place, later: int) -> _Place:
        choices = (_Place(cut.document + 1), self._line_behind(cut), cut)
        return next((place for place in choices if self._has(place, later)), cut)

    def _has(self, place: _Place, count: int) -> bool:
        try:
            while count > 0:
                count -= self._length(place)
                place = _Place(place.document + 1)
        except _Exhausted:
            return False
        return True

    def _line_behind(self, cut: _Place) -> _Place:
        """The beginning of the next paragraph of the document, or else of the next line, or else what is cut."""
        text = self._texts[cut.document]
        before = len(self._tokenizer.text_of(text, 0, cut.token).decode(errors="ignore"))
        for separator in ("\n\n", "\n"):
            found = text.find(separator, before)
            if found >= 0:
                token = self._tokenizer.token_behind(text, found + len(separator))
                return _Place(cut.document, token) if token < len(self._ids(cut.document)) else _Place(cut.document + 1)
        return cut

    def _joined(self, pieces: Sequence[tuple[_Place, int]]) -> SplitTokens:
        tokens, documents = (np.empty(sum(length for _, length in pieces), dtype=np.int32) for _ in range(2))
        first = size = words = 0
        for number, (place, length) in enumerate(pieces):
            last = first + length
            tokens[first] = self._tokenizer.boundary
            tokens[first + 1 : last] = self._ids(place.document)[place.token : place.token + length - 1]
            documents[first:last] = number
            text = self._text(place, length - 1)
            size, words, first = size + len(text), words + len(text.decode(errors="replace").split()), last
        return SplitTokens(tokens, documents, size, words)

    def _text(self, place: _Place, count: int) -> bytes:
        text = self._texts[place.document]
        if place.token == 0 and count == len(self._ids(place.document)):
            return text.encode()
        return self._tokenizer.text_of(text, place.token, place.token + count)
