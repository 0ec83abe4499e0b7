"""Tokenisers: bytes, and those of the library `tokenizers` from a local file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainables.configuration import ConfigurationError
from trainables.tasks._language.configuration import BYTES

Ids = npt.NDArray[Any]
"""Token ids (n,) of some integer type."""

BOUNDARIES = ("<|endoftext|>", "</s>", "<eos>", "[SEP]", "<s>")


class TokenizerConfiguration(Protocol):
    """What decides a tokeniser."""

    @property
    def tokenizer(self) -> str: ...
    @property
    def boundary(self) -> str | None: ...
    @property
    def vocab_size(self) -> int: ...


class Tokenizer(Protocol):
    """Texts to token ids; each document begins with the token ``boundary``."""

    size: int
    boundary: int

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each text, without a boundary."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, none of them the boundary; bytes that are no UTF-8 become U+FFFD."""

    def text_of(self, text: str, start: int, stop: int) -> bytes:
        """The part of ``text``, in UTF-8, that its tokens ``start`` to ``stop`` (not included) stand for."""

    def token_behind(self, text: str, place: int) -> int:
        """The first token of ``text`` that begins at the character ``place`` or behind it."""


class ByteTokenizer:
    """UTF-8: an id is a byte, 256 the boundary."""

    size, boundary = 257, 256

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")

    def text_of(self, text: str, start: int, stop: int) -> bytes:
        return text.encode()[start:stop]

    def token_behind(self, text: str, place: int) -> int:
        return len(text[:place].encode())


class FileTokenizer:
    """A tokeniser of the library `tokenizers`."""

    def __init__(self, tokenizer: Any, boundary: int) -> None:
        self._tokenizer, self.boundary = tokenizer, boundary
        self.size = int(tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def text_of(self, text: str, start: int, stop: int) -> bytes:
        """Characters that lie between tokens belong to the one behind them, those of the end to the last token."""
        ends = self._ends(text)
        first = ends[start - 1] if start else 0
        last = len(text) if stop == len(ends) else ends[stop - 1] if stop else 0
        return text[first : max(first, last)].encode()

    def token_behind(self, text: str, place: int) -> int:
        starts = [start for start, _ in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        return next((token for token, start in enumerate(starts) if start >= place), len(starts))

    def _ends(self, text: str) -> list[int]:
        return [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]


def tokenizer_of(configuration: TokenizerConfiguration) -> Tokenizer:
    """The tokeniser that ``configuration.tokenizer`` names.

    Raises:
        ConfigurationError: it cannot be read, has no boundary token, or another number of tokens than ``vocab_size``.
    """
    tokenizer: Tokenizer
    if configuration.tokenizer == BYTES:
        _require(configuration.boundary is None, "boundary", "bytes have a boundary of their own, 256: leave this out")
        tokenizer = ByteTokenizer()
    else:
        loaded = _load(Path(configuration.tokenizer))
        tokenizer = FileTokenizer(loaded, _boundary(loaded, configuration.boundary))
    has = f"the tokenizer has {tokenizer.size:,} tokens: write vocab_size: {tokenizer.size}"
    _require(configuration.vocab_size == tokenizer.size, "vocab_size", has)
    return tokenizer


def _load(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer as Library
    except ImportError:
        message = "files of tokenizers need the library `tokenizers`: pip install 'memsweep[hf]', or use bytes"
        raise ConfigurationError([("tokenizer", message)]) from None
    file = path / "tokenizer.json" if path.is_dir() else path
    cure = "give a tokenizer.json of the library `tokenizers`, or a folder that holds one"
    _require(file.is_file(), "tokenizer", f"there is no {file.name} in the folder {path.name}: {cure}")
    try:
        loaded = Library.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigurationError([("tokenizer", f"{file.name} cannot be read ({error}): {cure}")]) from error
    # What a model's own files say of cutting and filling is for its training, and would lose text here.
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _boundary(loaded: Any, name: str | None) -> int:
    """The id of the token that begins documents."""
    found = next((token for token in ([name] if name else BOUNDARIES) if loaded.token_to_id(token) is not None), None)
    tried = name or ", ".join(BOUNDARIES)
    message = f"the tokenizer has no token {tried}: name the one that begins documents, e.g. boundary: '<|endoftext|>'"
    _require(found is not None, "boundary", message)
    return int(loaded.token_to_id(found))


def _require(condition: bool, field: str, message: str) -> None:
    if not condition:
        raise ConfigurationError([(field, message)])
