"""The nearest keys: against a plain loop, against faiss, with entries left out, and what half precision does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.retrieval.datastore import Datastore, half_keys
from trainables.retrieval.index import INDEX_FILE, IndexPlan, Searcher, build_index, default_code_size, resolved_kind
from trainables.retrieval.search import nearest, smallest

CPU = torch.device("cpu")


def _store(size: int, width: int, *, seed: int = 0, scale: float = 1.0) -> Datastore:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(size, width, generator=generator) * scale
    return Datastore(half_keys(keys), torch.arange(size, dtype=torch.int32))


def _queries(count: int, width: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(99))


def _loop(store: Datastore, queries: Tensor, k: int, metric: str, excluded: Tensor | None) -> list[list[int]]:
    found = []
    for row, query in enumerate(queries.double()):
        keys = store.keys.double()
        distances = -(keys @ query) if metric == "ip" else (keys - query).square().sum(-1)
        left_out = range(0) if excluded is None else range(*excluded[row].tolist())
        ranked = sorted((distance, entry) for entry, distance in enumerate(distances.tolist()) if entry not in left_out)
        found.append([entry for _, entry in ranked[:k]])
    return found


@pytest.mark.parametrize("metric", ["l2", "ip"])
@settings(max_examples=15, deadline=None)
@given(k=st.integers(1, 12), size=st.integers(20, 70), seed=st.integers(0, 1000), leave_out=st.booleans())
def test_it_finds_what_a_loop_over_all_keys_finds(metric: str, k: int, size: int, seed: int, leave_out: bool) -> None:
    store, queries = _store(size, 5, seed=seed), _queries(6, 5)
    starts = torch.arange(6)
    excluded = torch.stack((starts, starts + starts), 1) if leave_out else None
    distances, indices = nearest(store, queries, k, metric=metric, excluded=excluded)
    assert indices.tolist() == _loop(store, queries, k, metric, excluded)
    assert (distances.diff(dim=1) >= 0).all() and distances.dtype == torch.float32


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_many_pieces_find_what_one_finds(metric: str) -> None:
    store, queries = _store(30_000, 4), _queries(1100, 4)
    distances, indices = nearest(store, queries, 3, metric=metric)
    scores = queries @ store.keys.float().T if metric == "ip" else -torch.cdist(queries, store.keys.float()).square()
    torch.testing.assert_close(distances, -scores.topk(3).values, rtol=1e-4, atol=1e-4)
    assert (indices == scores.topk(3).indices).float().mean() > 0.999  # rounding exchanges near neighbours


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("left_out", [0, 1, 9])
def test_faiss_flat_finds_what_torch_finds(metric: str, left_out: int) -> None:
    pytest.importorskip("faiss")
    store, queries = _store(3000, 16), _queries(200, 16)
    starts = torch.arange(200)
    excluded = torch.stack((starts, starts + left_out), 1) if left_out else None
    found = [Searcher(store, IndexPlan(kind, metric), CPU).nearest(queries, 20, excluded) for kind in ("torch", "faiss_flat")]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_an_exact_duplicate_is_at_distance_zero_though_keys_are_long() -> None:
    store = _store(500, 64, scale=200.0)
    distances, indices = nearest(store, store.keys.float(), 1)
    assert indices.flatten().tolist() == list(range(500)) and (distances == 0).all()


@pytest.mark.parametrize("kind", ["torch", "faiss_flat"])
def test_keys_far_from_zero_are_told_apart(kind: Any) -> None:
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    store = Datastore(half_keys(torch.randn(5000, 64, generator=generator) + 900), torch.zeros(5000, dtype=torch.int32))
    queries = torch.randn(40, 64, generator=generator) + 900
    _, indices = Searcher(store, IndexPlan(kind, "l2"), CPU).nearest(queries, 50)
    distances = torch.cdist(queries.double(), store.keys.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert (indices == distances.topk(50, largest=False).indices).float().mean() > 0.999


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3), columns=st.integers(1, 200), count=st.integers(1, 30), seed=st.integers(0, 1000), ties=st.booleans()
)
def test_the_smallest_by_groups_are_the_smallest_of_all(rows: int, columns: int, count: int, seed: int, ties: bool) -> None:
    numbers = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    numbers = numbers.round() if ties else numbers
    numbers[numbers > 1] = torch.inf
    values, places = smallest(numbers, count)
    assert torch.equal(values.sort(1).values, numbers.sort(1).values[:, :count])
    assert torch.equal(numbers.gather(1, places), values)
    assert all(len(set(row)) == min(count, columns) for row in places.tolist())


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_faiss_flat_finds_what_torch_finds_where_long_documents_are_left_out(metric: Any) -> None:
    pytest.importorskip("faiss")
    store, queries = _store(1500, 4), _queries(60, 4)
    excluded = torch.tensor([[0, 1400], [3, 700], [5, 5]]).repeat(20, 1)
    found = [Searcher(store, IndexPlan(kind, metric), CPU).nearest(queries, 90, excluded) for kind in ("torch", "faiss_flat")]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_equal_distances_come_in_the_order_of_their_entries() -> None:
    store = Datastore(torch.zeros(50, 3).half(), torch.zeros(50, dtype=torch.int32))
    _, indices = nearest(store, torch.ones(2, 3), 50)
    assert indices.tolist() == [list(range(50))] * 2


def test_keys_too_large_for_half_precision_stay_finite_and_so_do_distances() -> None:
    keys = half_keys(torch.tensor([[1e6, -1e6], [300.0, 2.0]]))
    assert keys.tolist() == [[65504.0, -65504.0], [300.0, 2.0]]
    distances, _ = nearest(Datastore(keys, torch.zeros(2, dtype=torch.int32)), torch.tensor([[0.0, 0.0]]), 2)
    assert distances.isfinite().all() and distances[0, 1] == 2 * 65504.0**2


@pytest.mark.parametrize("kind", ["torch", "faiss_flat"])
def test_no_query_finds_nothing(kind: str) -> None:
    pytest.importorskip("faiss")
    distances, indices = Searcher(_store(20, 3), IndexPlan(kind, "l2"), CPU).nearest(torch.empty(0, 3), 4)
    assert distances.shape == indices.shape == (0, 4)


def test_an_approximate_index_finds_more_the_more_cells_are_probed(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    store, queries = _store(4000, 8), _queries(100, 8)
    plan = IndexPlan("faiss_ivfpq", "l2", cells=32, code_size=8, probes=1)
    build_index(store, plan, tmp_path / INDEX_FILE)
    exact = Searcher(store, IndexPlan("torch", "l2"), CPU).nearest(queries, 10)[1]
    recalls = []
    for probes in (1, 32):
        probing = IndexPlan("faiss_ivfpq", "l2", cells=32, code_size=8, probes=probes)
        distances, indices = Searcher(store, probing, CPU, tmp_path).nearest(queries, 10)
        true = (store.keys.float()[indices] - queries.unsqueeze(1)).square().sum(-1)
        torch.testing.assert_close(distances, true)
        recalls.append((indices.unsqueeze(2) == exact.unsqueeze(1)).any(2).float().mean().item())
    assert recalls[0] < recalls[1] and recalls[1] > 0.9


def test_where_the_cells_hold_too_few_keys_the_search_is_exact(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    store, queries = _store(1000, 8), _queries(20, 8)
    plan = IndexPlan("faiss_ivfpq", "l2", cells=25, code_size=8, probes=1)
    build_index(store, plan, tmp_path / INDEX_FILE)
    searcher = Searcher(store, plan, CPU, tmp_path)
    excluded = torch.tensor([[0, 400]]).expand(20, 2)
    torch.testing.assert_close(searcher.nearest(queries, 300, excluded), searcher.exact(queries, 300, excluded), rtol=0, atol=0)


def test_a_damaged_index_or_that_of_another_store_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    plan = IndexPlan("faiss_ivfpq", "l2", cells=8, code_size=4, probes=2)
    build_index(_store(600, 8), plan, tmp_path / INDEX_FILE)
    with pytest.raises(ValueError, match="of another datastore"):
        Searcher(_store(601, 8), plan, CPU, tmp_path)
    (tmp_path / INDEX_FILE).write_bytes((tmp_path / INDEX_FILE).read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        Searcher(_store(600, 8), plan, CPU, tmp_path)
    with pytest.raises(ValueError, match="at least 256 keys"):
        build_index(_store(255, 8), plan, tmp_path / "other")


def test_the_kind_follows_from_the_number_of_keys() -> None:
    assert [resolved_kind("auto", size) for size in (99_999, 100_000, 1_000_000, 1_000_001)] == [
        *("torch", "faiss_flat", "faiss_flat", "faiss_ivfpq")
    ]
    assert resolved_kind("faiss_ivfpq", 10) == "faiss_ivfpq"
    assert [default_code_size(width) for width in (7, 48, 64, 768, 1024)] == [7, 48, 64, 64, 64]
