"""The datastore: of every training position the key that a base model gives, and the token that follows.

Khandelwal et al. 2020 (arXiv 1911.00172), section 2. Keys are float16, values int32; both are mapped from their files, so runs
on a machine share what of them is in memory.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.prepared import MANIFEST

KEYS, VALUES = "keys.npy", "values.npy"
_LARGEST_HALF = 65504.0
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Datastore:
    """N pairs; entry ``i`` is that of position ``i`` of the training text."""

    keys: Tensor
    """(N, Dk) float16."""
    values: Tensor
    """(N,) int32."""

    @classmethod
    def open(cls, folder: Path, device: torch.device | None = None) -> Datastore:
        """The store of a folder; its keys are copied to a CUDA ``device`` where they take less than half of the free memory.

        Raises:
            ValueError: the files are missing, damaged or do not belong together.
        """
        keys, values = mapped_tensor(folder / KEYS), mapped_tensor(folder / VALUES)
        if keys.dtype != torch.float16 or keys.dim() != 2 or values.dtype != torch.int32 or values.shape != keys.shape[:1]:
            raise ValueError(f"{folder} is no datastore: {KEYS} (N, Dk) float16 and {VALUES} (N,) int32 are not what it holds")
        return cls(_near(keys, device), values)

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def mib(self) -> float:
        return (self.keys.nbytes + self.values.nbytes) / _MIB

    def tokens(self, indices: Tensor) -> Tensor:
        """The values of entries, int64, of the shape and on the device of ``indices`` (int64)."""
        return self.values[indices.to(self.values.device)].long().to(indices.device)


def half_keys(keys: Tensor) -> Tensor:
    """float16; what is too large for it becomes its largest number."""
    return keys.clamp(-_LARGEST_HALF, _LARGEST_HALF).half()


def stored_values(folder: Path) -> object:
    """What a prepared folder was made from, by its manifest.

    Raises:
        ValueError: it has no readable manifest.
    """
    try:
        return json.loads((folder / MANIFEST).read_text())["values"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder} has no readable {MANIFEST}: name a folder artifacts/datastore-… of a sweep") from error


def link_store(source: Path, folder: Path) -> None:
    """Links the two files of a store, or copies them where that is not possible."""
    for name in (KEYS, VALUES):
        try:
            os.link(source / name, folder / name)
        except OSError:
            shutil.copy2(source / name, folder / name)


def mapped_tensor(path: Path) -> Tensor:
    """An array of a stage, mapped from its file.

    Raises:
        ValueError: it is missing or damaged.
    """
    try:
        # Copy-on-write rather than "r": torch warns about arrays that cannot be written. Nothing is written.
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}; remove its folder, and it will be made again") from error


def _near(keys: Tensor, device: torch.device | None) -> Tensor:
    if device is None or device.type != "cuda" or 2 * keys.nbytes > torch.cuda.mem_get_info(device)[0]:
        return keys
    return keys.to(device)
