"""The fields of every model that reads from a datastore of a frozen base."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from trainables.columns import by_row
from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.retrieval.base import BASE_MEANING, DEFAULT_BASE, base_pair_rules, base_width
from trainables.retrieval.base_fields import BASE
from trainables.retrieval.index import IndexKind
from trainables.retrieval.keys import KeyLayer
from trainables.retrieval.search import Metric


@dataclass(frozen=True, kw_only=True)
class RetrievalConfiguration(Configuration):
    """The base, its datastore, and how neighbours are looked for."""

    base: dict[str, Any] = hyperparameter(DEFAULT_BASE, BASE_MEANING, nested=BASE)
    datastore: str | None = hyperparameter(
        None,
        "a folder artifacts/datastore-… of another sweep with the same base and data, taken as it is; null: made here",
        file=True,
        folder=True,
    )
    key_layer: KeyLayer = hyperparameter(
        "last_ffn_input", "keys: what the base's last feed-forward layer reads, behind its norm, or what it gives"
    )
    metric: Metric = hyperparameter("l2", "nearest: the smallest squared Euclidean distance, or the largest inner product")
    n_neighbors: int = hyperparameter(1024, "entries of the datastore that are read for a token", minimum=1)
    index: IndexKind = hyperparameter(
        "auto",
        "how neighbours are found: torch or faiss_flat (exact), or faiss_ivfpq (approximate); auto: torch below 100,000 keys, "
        "faiss_flat up to 1,000,000, faiss_ivfpq above",
    )
    nlist: int = hyperparameter(
        4096, "cells of an approximate index; fewer where a cell would have less than 39 keys", minimum=1, maximum=2**20
    )
    code_size: int | None = hyperparameter(
        None, "bytes of a key in an approximate index; null: the largest divisor of the key's width up to 64", minimum=1
    )
    nprobe: int = hyperparameter(32, "cells of an approximate index that are looked through for a token", minimum=1)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            lambda c: by_row(_code_fits, c.base, SimpleNamespace(code_size=c.code_size)),
            "code_size must divide the width of a key, which is that of the base: take a divisor, or null",
        ),
    )


def _code_fits(base: Any, fields: Any) -> bool:
    return fields.code_size is None or base_width(base) % fields.code_size == 0


retrieval_pair_rules: tuple[Rule, ...] = (
    *base_pair_rules,
    Rule(
        lambda model, task: model.n_neighbors <= task.train_tokens,
        "n_neighbors is larger than the datastore, which has task.train_tokens entries: lower n_neighbors or raise train_tokens",
    ),
)
