"""Flat files of token ids: ``train.bin`` and ``val.bin`` in a folder."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.configuration import ConfigurationError
from trainables.language import Split
from trainables.tasks._segments.configuration import SegmentLmConfiguration

FILES: dict[Split, str] = {"train": "train.bin", "val": "val.bin"}
_IDS_AT_ONCE = 2**24
_MOST_NAMES = 8
_IDS_LOOKED_AT, _FEWEST_TO_TELL, _LARGEST_UPPER_HALF = 4096, 64, 3

Problem = tuple[str | None, str]


def inspect_token_files(configuration: SegmentLmConfiguration) -> None:
    """Reads both files once.

    Raises:
        ConfigurationError: one is missing or empty, no whole number of ids, shorter than a crop, or has an id that the
            vocabulary does not have.
    """
    folder = Path(configuration.tokens or "")
    if not folder.is_dir():
        raise ConfigurationError([("tokens", f"there is no folder {folder.name}: name one that holds train.bin and val.bin")])
    found = (_problem_with(folder, split, configuration) for split in FILES)
    problems = [problem for problem in found if problem is not None]
    if problems:
        raise ConfigurationError(problems)


def write_token_files(configuration: SegmentLmConfiguration, folder: Path) -> None:
    """Writes ``{train,val}_tokens.npy`` (n + 1,), of the type that the ids have in the files; n is the number of targets."""
    for split in FILES:
        ids = _mapped(Path(configuration.tokens or "") / FILES[split], configuration.token_dtype)
        np.save(folder / f"{split}_tokens.npy", ids)


def _problem_with(folder: Path, split: Split, configuration: SegmentLmConfiguration) -> Problem | None:
    path, dtype = folder / FILES[split], _little_endian(configuration.token_dtype)
    if not path.is_file():
        return "tokens", f"there is no {path.name} in the folder {folder.name}, which holds {_content(folder)}: put it there"
    size = path.stat().st_size
    if size == 0:
        return "tokens", f"{path.name} is empty: write token ids into it"
    if size % dtype.itemsize:
        whole = f"no whole number of {configuration.token_dtype} ids of {dtype.itemsize} bytes"
        return "tokens", f"{path.name} has {size:,} bytes, {whole}: change token_dtype, or make the file again"
    return _problem_with_ids(path, split, configuration, size // dtype.itemsize)


def _problem_with_ids(path: Path, split: Split, configuration: SegmentLmConfiguration, count: int) -> Problem | None:
    length = configuration.train_length if split == "train" else configuration.val_length
    if count <= length:
        return f"{split}_length", f"{path.name} holds {count:,} tokens, and a crop and its last target {length + 1:,}: lower it"
    if configuration.token_dtype == "uint16" and _looks_wider(path):
        return "token_dtype", f"{path.name} looks like uint32, as every second uint16 in it is 0 to 3: write token_dtype: uint32"
    largest = _largest_id(os.path.abspath(path), configuration.token_dtype, *_state(path))
    if largest >= configuration.vocab_size:
        cure = f"write vocab_size: {largest + 1}, or that of the model which the ids are for"
        return "vocab_size", f"{path.name}, read as {configuration.token_dtype}, holds the id {largest:,}: {cure}"
    return None


def _looks_wider(path: Path) -> bool:
    """Whether ids of uint32 would be read as two each: the upper halves of ids below 2^18 are 0 to 3."""
    begin = _mapped(path, "uint16")[:_IDS_LOOKED_AT]
    lower, upper = begin[::2], begin[1::2]
    return len(upper) >= _FEWEST_TO_TELL and int(upper.max()) <= _LARGEST_UPPER_HALF < int(np.median(lower))


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = ["…"] if len(names) > _MOST_NAMES else []
    return ", ".join(names[:_MOST_NAMES] + more) or "nothing"


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _largest_id(path: str, dtype: str, *state: int) -> int:
    """Of a file in a known state, so that a file is read once however many configurations name it."""
    ids = _mapped(Path(path), dtype)
    return max(int(ids[first : first + _IDS_AT_ONCE].max()) for first in range(0, len(ids), _IDS_AT_ONCE))


def _mapped(path: Path, dtype: str) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=_little_endian(dtype), mode="r")


def _little_endian(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")
