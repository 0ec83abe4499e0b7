"""Arrays in a file that may come from a stranger: NumPy's ``npz`` without pickles, checked before anything is allocated."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

LARGEST_FILE = 64 * 2**20
"""Bytes."""
_HEADER_BYTES = 4096
_NAME_CHARACTERS = 200
_LAST_CHARACTER = 0x10FFFF
_HALF_CHARACTERS, _HALVES = 0x800, 0xD800 // 0x800


class ExhibitError(ValueError):
    """A file of an exhibit is not what one is; the message says why."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes numbers and texts into an ``npz``, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(partial, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of float64, int64 or text that a file holds, by name.

    Members must be stored without compression, so that the file's size bounds what is read, and a header must agree with the
    bytes behind it: nothing is allocated because a file says so.

    Raises:
        ExhibitError: it is too large, or is not such a file.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ExhibitError(f"it has {size:,} bytes, and at most {LARGEST_FILE:,} are read")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return {info.filename.removesuffix(".npy"): _read_member(archive, info, size) for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RuntimeError, OverflowError) as error:
        raise ExhibitError(f"it is damaged: {error}"[:300]) from error


def texts(array: np.ndarray) -> tuple[str, ...]:
    """A list of short texts.

    Raises:
        ExhibitError: it is not.
    """
    if array.ndim != 1 or array.dtype.kind != "U" or not array.dtype.itemsize:
        raise ExhibitError("names are a list of texts")
    characters = array.view("<u4")  # looked at first: NumPy fails on what is no character
    if array.size and (characters.max() > _LAST_CHARACTER or bool((characters // _HALF_CHARACTERS == _HALVES).any())):
        raise ExhibitError("a name is no text")
    found = tuple(map(str, array.tolist()))
    if not all(text.isprintable() and len(text) <= _NAME_CHARACTERS for text in found):
        raise ExhibitError(f"names are printable and have at most {_NAME_CHARACTERS} characters")
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        raise ExhibitError(f"{info.filename!r:.60} is compressed, or larger than the file")
    with archive.open(info) as member:
        content = member.read(info.file_size)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ExhibitError(f"{info.filename!r:.60} is of another version of NumPy's format")
    shape, by_column, kind = np.lib.format.read_array_header_1_0(stream, max_header_size=_HEADER_BYTES)
    known = kind in (np.dtype("<f8"), np.dtype("<i8")) or kind.str.startswith("<U")
    if not known or by_column or math.prod(shape) * kind.itemsize != len(content) - stream.tell() or min(shape, default=0) < 0:
        raise ExhibitError(f"{info.filename!r:.60} is no array of real numbers, whole numbers or texts")
    return _array(content[stream.tell() :], kind, shape)


def _array(content: bytes, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.frombuffer(content, kind) if kind.itemsize and content else np.empty(math.prod(shape), kind)
    return flat.reshape(shape)
