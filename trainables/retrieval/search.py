"""Exact nearest keys, in pieces of bounded memory, on any device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from trainables.retrieval.datastore import Datastore

Metric = Literal["l2", "ip"]
"""Distances: squared Euclidean ones, or negative inner products."""

MARGIN = 8
"""Candidates beyond k whose distances are taken again: the products of a search are rounded."""
_ELEMENTS_AT_ONCE = 2**24
"""Of products or of keys, float32."""
_GATHERED_AT_ONCE = 2**20
"""Elements of gathered keys: few, as several passes go over them."""
_QUERIES_AT_ONCE = 1024
_KEYS_AT_ONCE = 2**17
_KEYS_OF_CENTRE = 4096


def nearest(
    store: Datastore, queries: Tensor, k: int, *, metric: Metric = "l2", excluded: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k nearest entries of each of the ``queries`` (M, Dk), by comparison with all keys.

    Of query i the entries from ``excluded[i, 0]`` to ``excluded[i, 1]`` (not included; (M, 2) int64) do not count; at least k
    others must be there.

    Returns:
        Distances (M, k) float32, ascending, each taken from the differences (not from expanded squares, which cancel), and
        indices (M, k) int64, the smaller first among equal distances. Which of several entries at the distance of the last one
        are among them is left open.
    """
    queries = queries.float()
    return refine(store, queries, exact_candidates(store, queries, k, metric=metric, excluded=excluded), k, metric)


def exact_candidates(
    store: Datastore, queries: Tensor, k: int, *, metric: Metric = "l2", excluded: Tensor | None = None
) -> Tensor:
    """(M, k or a few more) int64 indices of the nearest entries, in no order; see :func:`nearest`. -1: none."""
    centre = centre_of(store, metric, queries.device)
    found = []
    for rows in _rows(len(queries), _QUERIES_AT_ONCE):
        hidden = None if excluded is None else excluded[rows]
        found.append(_candidates(store, queries[rows] - centre, centre, k + MARGIN, metric, hidden))
    return torch.cat(found) if found else torch.empty((0, k), dtype=torch.int64, device=queries.device)


def centre_of(store: Datastore, metric: Metric, device: torch.device) -> Tensor:
    """(Dk,) float32: what is subtracted from keys and queries before their products are taken.

    Squared distances stay the same, but lose fewer digits where keys lie far from zero. Zeros for inner products.
    """
    if metric == "ip":
        return torch.zeros(store.keys.shape[1], device=device)
    return store.keys[:_KEYS_OF_CENTRE].to(device).float().mean(0)


def smallest(distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest of each row of (m, n), and where they are; both (m, min(count, n)), in no order.

    Exact: columns are put into groups, and the smallest numbers are in as many groups as have the smallest minima. So far fewer
    numbers are ranked than with ``topk`` alone.
    """
    columns = distances.shape[1]
    group = math.isqrt(columns // max(1, count))
    if group < 2:
        return distances.topk(min(count, columns), largest=False, sorted=False)
    groups = columns // group
    lowest = distances[:, : group * groups].reshape(-1, group, groups).amin(1)
    chosen = lowest.topk(count, largest=False, sorted=False).indices
    members = torch.arange(0, group * groups, groups, device=distances.device)
    rest = torch.arange(group * groups, columns, device=distances.device)
    places = torch.cat(((chosen.unsqueeze(1) + members.unsqueeze(1)).flatten(1), rest.expand(len(distances), -1)), 1)
    values, order = distances.gather(1, places).topk(count, largest=False, sorted=False)
    return values, places.gather(1, order)


def refine(store: Datastore, queries: Tensor, candidates: Tensor, k: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """The k nearest of the ``candidates`` (M, C) of each query by their true distances; -1 is no candidate: see :func:`nearest`.

    Where a query has fewer than k candidates, the last distances are infinite.
    """
    candidates = candidates.sort(-1).values  # equal distances in the order of their entries, by a stable sort
    if not candidates.numel():
        return torch.empty((len(queries), k), device=queries.device), candidates[:, :k]
    rows = max(1, _GATHERED_AT_ONCE // (candidates.shape[1] * queries.shape[1]))
    distances, indices = [], []
    for some in _rows(len(queries), rows):
        keys = _taken(store, candidates[some].clamp_min(0), queries.device)
        true = _true_distances(keys, queries[some], metric).masked_fill_(candidates[some] < 0, torch.inf)
        ordered, order = true.sort(dim=-1, stable=True)
        distances.append(ordered[:, :k])
        indices.append(candidates[some].gather(1, order[:, :k]))
    return torch.cat(distances), torch.cat(indices)


def _taken(store: Datastore, indices: Tensor, device: torch.device) -> Tensor:
    flat = indices.flatten().to(store.keys.device)
    return store.keys.index_select(0, flat).to(device).float().view(*indices.shape, -1)


def _true_distances(keys: Tensor, queries: Tensor, metric: Metric) -> Tensor:
    if metric == "ip":
        return -torch.bmm(keys, queries.unsqueeze(-1)).squeeze(-1)
    return (keys - queries.unsqueeze(1)).square_().sum(-1)


def _candidates(
    store: Datastore, queries: Tensor, centre: Tensor, wanted: int, metric: Metric, excluded: Tensor | None
) -> Tensor:
    """(m, min(wanted, N)) int64: those with the smallest rounded distances, chunk after chunk of the keys."""
    wanted = min(wanted, store.size)
    best = queries.new_empty((len(queries), 0))
    indices = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for entries in _rows(store.size, min(_KEYS_AT_ONCE, max(wanted, _ELEMENTS_AT_ONCE // queries.shape[1]))):
        keys = store.keys[entries].to(queries.device).float() - centre
        values, places = _best_of_chunk(queries, keys, entries.start, wanted, metric, excluded)
        best, indices = torch.cat((best, values), 1), torch.cat((indices, places), 1)
        if best.shape[1] > wanted:
            best, kept = best.topk(wanted, largest=False, sorted=False)
            indices = indices.gather(1, kept)
    return indices.masked_fill(best == torch.inf, -1)


def _best_of_chunk(
    queries: Tensor, keys: Tensor, first: int, wanted: int, metric: Metric, excluded: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rounded distances and entries, (m, min(wanted, n)) each, of the n keys that begin with the entry ``first``."""
    values, places = [], []
    entries, squares = torch.arange(first, first + len(keys), device=keys.device), keys.square().sum(-1)
    for rows in _rows(len(queries), max(1, _ELEMENTS_AT_ONCE // len(keys))):
        distances = _rounded_distances(queries[rows], keys, squares, metric)
        if excluded is not None:
            hidden = excluded[rows]
            distances.masked_fill_((entries >= hidden[:, :1]) & (entries < hidden[:, 1:]), torch.inf)
        some, found = smallest(distances, wanted)
        values.append(some)
        places.append(found + first)
    return torch.cat(values), torch.cat(places)


def _rounded_distances(queries: Tensor, keys: Tensor, squares: Tensor, metric: Metric) -> Tensor:
    """(m, n) up to a number a query: ``|k|^2 - 2 q k`` orders the keys of a query as the squared distance does."""
    if metric == "ip":
        return -(queries @ keys.T)
    return torch.addmm(squares, queries, keys.T, alpha=-2)


def _rows(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
