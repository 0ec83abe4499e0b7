"""Attention in segments with a cache, against attention with an explicit mask."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.layers.segment_attention import Heads, before, segment_attention, segments


def _heads(length: int, *, seed: int = 0) -> Heads:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(2, 3, length, width) for width in (4, 4, 6)]
    return Heads(*(torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes))


def _sees(query: int, key: int, segment_len: int, cache: int, documents: list[int]) -> bool:
    start = query // segment_len * segment_len
    return start <= key <= query or (start - cache <= key < start and documents[query] == documents[key])


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 17),
    segment_len=st.integers(1, 9),
    cache=st.integers(0, 12),
    steps=st.none() | st.lists(st.lists(st.integers(0, 1), min_size=17, max_size=17), min_size=2, max_size=2),
)
def test_it_is_attention_under_a_mask(length: int, segment_len: int, cache: int, steps: list[list[int]] | None) -> None:
    own = _heads(length)
    documents = None if steps is None else torch.tensor(steps)[:, :length].cumsum(1)
    rows = torch.zeros(2, length, dtype=torch.int64).tolist() if documents is None else documents.tolist()
    mask = torch.tensor(
        [[[_sees(query, key, segment_len, cache, row) for key in range(length)] for query in range(length)] for row in rows]
    )
    products = (own.query @ own.key.mT / 2).masked_fill(~mask.unsqueeze(1), -torch.inf)
    found = segment_attention(own, own, segment_len, cache, documents)
    torch.testing.assert_close(found, torch.softmax(products, dim=-1) @ own.value, rtol=0, atol=1e-12)


def test_a_later_segment_reads_the_cached_keys_and_values() -> None:
    own, cached = _heads(8), _heads(8, seed=1)
    found = segment_attention(own, cached, 4, 4, None)
    joined = Heads(own.query, *(torch.cat((old[:, :, :4], new[:, :, 4:]), 2) for old, new in _pairs(cached, own)))
    expected = segment_attention(joined, None, 8, 0, None)
    torch.testing.assert_close(found[:, :, 4:], expected[:, :, 4:], rtol=0, atol=1e-12)
    assert torch.equal(found[:, :, :4], segment_attention(own, None, 4, 0, None)[:, :, :4])


def _pairs(cached: Heads, own: Heads) -> list[tuple[Tensor, Tensor]]:
    return [(cached.key, own.key), (cached.value, own.value)]


@given(length=st.integers(0, 50), segment_len=st.integers(1, 20), size=st.integers(0, 30))
def test_segments_cover_all_and_what_is_before_them_ends_where_they_begin(length: int, segment_len: int, size: int) -> None:
    found = list(segments(length, segment_len))
    assert [token for segment in found for token in range(segment.start, segment.stop)] == list(range(length))
    for segment in found:
        past = before(segment, size)
        assert past.stop == segment.start and past.stop - past.start == min(size, segment.start)
