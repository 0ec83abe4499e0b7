"""How the nearest keys are found: by comparison with all, in torch or faiss, or through an approximate index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.retrieval.datastore import Datastore
from trainables.retrieval.search import MARGIN, Metric, centre_of, exact_candidates, nearest, refine

IndexKind = Literal["auto", "torch", "faiss_flat", "faiss_ivfpq"]
"""``auto``: torch below 100,000 keys, faiss_flat up to 1,000,000, faiss_ivfpq above."""
INDEX_FILE = "index.faiss"

TORCH_KEYS, FLAT_KEYS = 100_000, 1_000_000
_TRAINING_KEYS, _TRAINING_SEED = 1_000_000, 1
_KEYS_A_CELL = 39
"""Below it faiss warns that cells are learned from too few keys."""
_LARGEST_CODE = 64
_CODES = 256
"""8 bits a byte of a code: as many keys are needed to learn them."""
_KEYS_AT_ONCE = 65_536
_HIDDEN_AT_MOST = 256
"""Entries that are asked for in place of those left out; where more of them are the nearest, all keys are compared."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """Everything that decides what a search finds."""

    kind: Literal["torch", "faiss_flat", "faiss_ivfpq"]
    metric: Metric
    cells: int = 0
    code_size: int = 0
    probes: int = 0

    @classmethod
    def of(cls, model: Any, size: int, width: int) -> IndexPlan:
        """From a configuration's index, metric, nlist, code_size and nprobe, for N = ``size`` keys of ``width`` numbers."""
        kind = resolved_kind(model.index, size)
        if kind != "faiss_ivfpq":
            return cls(kind, model.metric)
        cells = max(1, min(model.nlist, size // _KEYS_A_CELL))
        return cls(kind, model.metric, cells, model.code_size or default_code_size(width), min(model.nprobe, cells))

    @property
    def is_approximate(self) -> bool:
        return self.kind == "faiss_ivfpq"

    def built_values(self) -> dict[str, Any]:
        """What decides the index file, which is the same for any number of probes."""
        return {"kind": self.kind, "metric": self.metric, "cells": self.cells, "code_size": self.code_size}

    def values(self) -> dict[str, Any]:
        """What decides which neighbours are found; exact searches find the same."""
        return {**self.built_values(), "probes": self.probes} if self.is_approximate else {"kind": "exact", "metric": self.metric}


def resolved_kind(index: IndexKind, size: int) -> Literal["torch", "faiss_flat", "faiss_ivfpq"]:
    if index != "auto":
        return index
    if size < TORCH_KEYS:
        return "torch"
    return "faiss_flat" if size <= FLAT_KEYS else "faiss_ivfpq"


def default_code_size(width: int) -> int:
    """The largest number of bytes up to 64 that divides the width of a key."""
    return max(size for size in range(1, min(width, _LARGEST_CODE) + 1) if width % size == 0)


class Searcher:
    """Searches one store by one plan; ``folder`` holds the index file where the plan has one.

    An exact search on a CUDA device is torch's, whatever the plan: it finds the same. An index that no file holds is made for the
    first search.
    """

    def __init__(self, store: Datastore, plan: IndexPlan, device: torch.device, folder: Path | None = None) -> None:
        self._store, self._plan = store, plan
        self._in_torch = plan.kind == "torch" or (plan.kind == "faiss_flat" and device.type == "cuda")
        self._centre = centre_of(store, "ip" if plan.is_approximate else plan.metric, torch.device("cpu"))
        self._index: Any = read_index(folder, plan, store) if plan.is_approximate else None

    def make_ready(self) -> None:
        """Makes what the first search would make."""
        if self._index is None and not self._in_torch:
            self._index = _flat_index(self._store, self._plan.metric, self._centre)

    def nearest(self, queries: Tensor, k: int, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As :func:`trainables.retrieval.search.nearest`; candidates of an approximate index, their distances true."""
        if self._in_torch:
            return self.exact(queries, k, excluded)
        queries = queries.float()
        return refine(self._store, queries, self._indexed(queries, k, excluded), k, self._plan.metric)

    def exact(self, queries: Tensor, k: int, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same by comparison with all keys."""
        return nearest(self._store, queries, k, metric=self._plan.metric, excluded=excluded)

    def _indexed(self, queries: Tensor, k: int, excluded: Tensor | None) -> Tensor:
        hidden = torch.zeros(len(queries), device=queries.device) if excluded is None else excluded[:, 1] - excluded[:, 0]
        more = min(_HIDDEN_AT_MOST, int(hidden.max())) if len(hidden) else 0
        found = self._faiss_search(queries, min(k + more + MARGIN, self._store.size))
        if excluded is not None:
            found.masked_fill_((found >= excluded[:, :1]) & (found < excluded[:, 1:]), -1)
        needed = k if self._plan.is_approximate else (self._store.size - hidden).clamp(max=k + MARGIN)
        lacking = ((found >= 0).sum(-1) < needed).nonzero().squeeze(1)
        return self._completed(found, queries, lacking, k, excluded) if len(lacking) else found

    def _completed(self, found: Tensor, queries: Tensor, lacking: Tensor, k: int, excluded: Tensor | None) -> Tensor:
        """``found`` with exact candidates for the queries ``lacking``: what was looked through has too few keys for them."""
        others = None if excluded is None else excluded[lacking]
        exact = exact_candidates(self._store, queries[lacking], k, metric=self._plan.metric, excluded=others)
        width = max(found.shape[1], exact.shape[1])
        found = functional.pad(found, (0, width - found.shape[1]), value=-1)
        found[lacking] = functional.pad(exact, (0, width - exact.shape[1]), value=-1)
        return found

    def _faiss_search(self, queries: Tensor, wanted: int) -> Tensor:
        """(M, wanted) int64; -1: none."""
        self.make_ready()
        import_faiss()  # for its threads: torch may have another number of them by now
        _, found = self._index.search((queries.cpu() - self._centre).contiguous().numpy(), wanted)
        return torch.from_numpy(found).to(queries.device)


def build_index(store: Datastore, plan: IndexPlan, path: Path) -> None:
    """Writes an inverted file with product quantisation (Jégou et al. 2011): cells and codes learned from random keys, seed 1.

    Raises:
        ValueError: there are fewer keys than the 256 codes of a byte.
    """
    if store.size < _CODES:
        raise ValueError(f"index faiss_ivfpq needs at least {_CODES} keys, and the datastore has {store.size}: set index: torch")
    faiss, width = import_faiss(), store.keys.shape[1]
    inner = plan.metric == "ip"
    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    coarse = faiss.IndexFlatIP(width) if inner else faiss.IndexFlatL2(width)
    index = faiss.IndexIVFPQ(coarse, width, plan.cells, plan.code_size, 8, metric)
    index.cp.seed = _TRAINING_SEED
    index.train(_training_keys(store))
    _add_keys(index, store)
    faiss.write_index(index, str(path))


def read_index(folder: Path | None, plan: IndexPlan, store: Datastore) -> Any:
    """The index that :func:`build_index` wrote, ready to look through ``plan.probes`` cells.

    Raises:
        ValueError: it is not there, unreadable, or of another store.
    """
    if folder is None:
        raise ValueError("an approximate search needs the stage that builds its index")
    faiss = import_faiss()
    try:
        index = faiss.read_index(str(folder / INDEX_FILE))
    except RuntimeError as error:
        raise ValueError(f"{folder / INDEX_FILE} cannot be read; remove {folder}, and it will be made again") from error
    if (index.ntotal, index.d) != tuple(store.keys.shape):
        raise ValueError(f"{folder / INDEX_FILE} is the index of another datastore; remove {folder}, and it will be made again")
    index.nprobe = plan.probes
    return index


def import_faiss() -> ModuleType:
    """faiss, with as many threads as torch has.

    Raises:
        ImportError: it is not installed; with the cure.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "searching so many keys needs faiss: pip install 'memsweep[retrieval]', or set index: torch (slower)"
        ) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    module: ModuleType = faiss
    return module


def _flat_index(store: Datastore, metric: Metric, centre: Tensor) -> Any:
    faiss, width = import_faiss(), store.keys.shape[1]
    index = faiss.IndexFlatIP(width) if metric == "ip" else faiss.IndexFlatL2(width)
    _add_keys(index, store, centre)
    return index


def _add_keys(index: Any, store: Datastore, centre: Tensor | float = 0.0) -> None:
    for keys in torch.split(store.keys, _KEYS_AT_ONCE):
        index.add((keys.float().cpu() - centre).numpy())


def _training_keys(store: Datastore) -> Any:
    if store.size <= _TRAINING_KEYS:
        return store.keys.float().cpu().numpy()
    chosen = np.random.default_rng(_TRAINING_SEED).choice(store.size, _TRAINING_KEYS, replace=False)
    return store.keys[torch.from_numpy(np.sort(chosen))].float().cpu().numpy()
