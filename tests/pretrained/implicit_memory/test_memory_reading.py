"""What a model with an implicit memory computes: against a slow oracle, its backbone, and the laws of the published tables."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_models import SIZES, TYPES, VOCABULARY, build, ids
from memory_oracle import Oracle
from torch import Tensor

from trainables.pretrained.implicit_memory.model import ImplicitMemoryModel
from trainables.pretrained.model import PretrainedLanguageModel

ROUNDING = 1e-6
"""The norms of the library round to single precision."""
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no snapshots for the memory": {"visible_snapshots": 0},
    "many snapshots": {"visible_snapshots": 3},
    "tokens see no snapshots": {"ltm_visible_to_input": "none", "visible_snapshots": 2},
    "tokens see the last": {"ltm_visible_to_input": "last_n"},
    "eviction": {"ltm_capacity": 2, "visible_snapshots": 4},
    "dual": {"dual_ffn": True},
    "equal blocks": {"input_block": 4, "short_term_memory": 1},
}


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("option", OPTIONS)
@torch.no_grad()
def test_states_are_those_of_the_slow_oracle(model_type: str, option: str) -> None:
    blocks = {"input_block": 5, "memory_block": 3, "short_term_memory": 2}
    module = build(model_type, **{**blocks, **OPTIONS[option]})
    found = module.hidden_states(ids(2, 19))
    oracle = Oracle(module)
    for row in range(2):
        torch.testing.assert_close(found[row].double(), oracle.states(ids(2, 19)[row]), rtol=1e-4, atol=2e-5)


def untouched(module: ImplicitMemoryModel) -> PretrainedLanguageModel:
    plain = PretrainedLanguageModel(module.config)
    plain.load_state_dict(module.state_dict())
    return plain


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_without_memory_columns_a_window_has_the_logits_of_the_untouched_backbone(model_type: str) -> None:
    module = build(model_type, short_term_memory=7)
    window = ids(3, 8)
    expected = untouched(module)(window)
    found = module.output_head(module.window_states(window, None))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    remembering = module.output_head(module.window_states(window, module.new_memory(3).state()))
    assert (remembering - expected).abs().max() > 1e-2


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_without_memory_columns_a_token_sees_the_last_input_block_of_one_layer(model_type: str) -> None:
    module = build(model_type, backbone={"config": {"model_type": model_type, **SIZES, "num_hidden_layers": 1}})
    window, plain = ids(2, 12), untouched(module)
    found = module.window_states(window, None)
    for last in range(12):
        alone = plain.hidden_states(window[:, max(0, last - 7) : last + 1])[:, -1]
        torch.testing.assert_close(found[:, last], alone, rtol=1e-4, atol=1e-4)


def divergence(first: Tensor, second: Tensor, segment: int) -> int:
    """The first segment, counted from 1, in which states of double precision differ by more than rounding."""
    for number, parts in enumerate(zip(first.split(segment, 1), second.split(segment, 1), strict=True), start=1):
        if (parts[0] - parts[1]).abs().max() > ROUNDING:
            return number
    raise AssertionError("they never differ")


def first_difference(model_type: str, few: int, many: int, segments: int, memory_block: int, **values: Any) -> int:
    tokens = ids(1, segments * memory_block)
    with torch.no_grad():
        runs = [
            build(model_type, visible_snapshots=number, memory_block=memory_block, **values).double().hidden_states(tokens)
            for number in (few, many)
        ]
    return divergence(runs[0], runs[1], memory_block)


PUBLISHED = [(32, 32, 1, 3, 5), (32, 32, 3, 8, 7), (64, 64, 0, 1, 3), (64, 64, 1, 2, 4), (64, 64, 2, 3, 5), (64, 64, 4, 6, 7)]


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(("rows", "memory_block", "few", "many", "expected"), PUBLISHED)
def test_runs_differ_first_where_those_of_the_published_tables_do(
    model_type: str, rows: int, memory_block: int, few: int, many: int, expected: int
) -> None:
    blocks = {"short_term_memory": rows, "input_block": 64}
    assert first_difference(model_type, few, many, expected + 1, memory_block, **blocks) == expected


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(("seen", "earlier"), [("all", 0), ("none", 0), ("last_n", 1)])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_more_visible_snapshots_change_segment_c0_plus_n_plus_2_first(
    model_type: str, seen: str, earlier: int, data: st.DataObject
) -> None:
    rows, memory_block, blocks = (data.draw(st.integers(1, most)) for most in (4, 4, 3))
    few = data.draw(st.integers(0, 3))
    many = few + data.draw(st.integers(1, 3))
    values = {"short_term_memory": rows, "input_block": blocks * memory_block, "ltm_visible_to_input": seen}
    expected = blocks + few + 2 - earlier
    assert first_difference(model_type, few, many, expected + 1, memory_block, **values) == expected


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("option", OPTIONS)
@torch.no_grad()
def test_a_batch_of_three_is_three_batches_of_one(model_type: str, option: str) -> None:
    module, tokens = build(model_type, **OPTIONS[option]).double(), ids(3, 34)
    alone = torch.cat([module.hidden_states(tokens[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(module.hidden_states(tokens), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("option", OPTIONS)
@torch.no_grad()
def test_a_token_changes_nothing_before_it_and_what_is_behind_it_through_the_memory(model_type: str, option: str) -> None:
    module, tokens = build(model_type, **OPTIONS[option]), ids(2, 34)
    before = module.hidden_states(tokens)
    for place in (0, 7, 8, 12, 20, 33):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % VOCABULARY
        after = module.hidden_states(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert (after[:, place] - before[:, place]).abs().amax(-1).min() > 1e-3
        reach = place + 2 * 8 + 2 * 4  # Wi back in each of two layers, and the window of the next write
        if reach < 34:
            assert (after[:, reach:] - before[:, reach:]).abs().amax(-1).min() > 1e-6


@torch.no_grad()
def test_each_sequence_begins_with_a_memory_of_its_own() -> None:
    module = build()
    first = module.hidden_states(ids(2))
    module.hidden_states(ids(2, seed=5))
    assert torch.equal(module.hidden_states(ids(2)), first)
    pieces = module.chunks(ids(2))
    next(pieces)
    assert torch.equal(torch.cat([module.hidden_states(ids(2))[:, 8:]]), torch.cat(list(pieces), dim=1))


@pytest.mark.parametrize("dual", [False, True])
def test_memories_have_no_gradient_and_no_history(dual: bool) -> None:
    module = build(dual_ffn=dual).train()
    memory = module.new_memory(2)
    pieces = list(module.chunks(ids(2), memory))
    assert all(piece.requires_grad for piece in pieces)
    held = [tensor for layers in (memory.short_term, *memory.snapshots) for tensor in layers]
    assert len(held) == 2 * (1 + 9)
    assert not any(tensor.requires_grad or tensor.grad_fn is not None for tensor in held)


@torch.no_grad()
def test_edits_of_the_memory_between_two_pieces_change_what_follows() -> None:
    module, tokens = build(), ids(1, 32)
    expected = list(module.chunks(tokens))

    def edited(change: Any) -> list[bool]:
        """After the fourth piece; whether each piece is what it was."""
        memory = module.new_memory(1)
        found = []
        for number, piece in enumerate(module.chunks(tokens, memory)):
            found.append(torch.equal(piece, expected[number]))
            if number == 3:
                assert len(memory.snapshots) == 4
                change(memory)
        return found

    assert edited(lambda memory: memory.replace(2, memory.snapshots[2])) == [True] * 7
    changes = [
        lambda memory: memory.remove(0),
        lambda memory: memory.replace(2, tuple(layer + 1 for layer in memory.snapshots[2])),
        lambda memory: memory.replace_short_term(tuple(-layer for layer in memory.short_term)),
        lambda memory: memory.clear(),
    ]
    for change in changes:
        assert edited(change) == [True] * 4 + [False] * 3


def test_a_memory_of_another_batch_is_refused() -> None:
    module = build()
    with pytest.raises(ValueError, match=r"has 2 rows and the tokens 3: make one with new_memory\(3\)"):
        next(module.chunks(ids(3), module.new_memory(2)))


@torch.no_grad()
def test_a_memory_goes_on_where_a_caller_gives_one() -> None:
    module = build()
    memory = module.new_memory(1)
    first = list(module.chunks(ids(1, 16), memory))
    assert len(memory.snapshots) == 3
    again = list(module.chunks(ids(1, 16), memory))
    assert len(memory.snapshots) == 6
    assert not torch.allclose(first[0], again[0])


@torch.no_grad()
def test_a_long_sequence_holds_no_more_than_the_memory_at_its_capacity() -> None:
    module = build(ltm_capacity=5)
    memory = module.new_memory(2)
    sizes = [memory.elements for _ in module.chunks(ids(2, 400), memory)]
    most = 2 * (1 + 5) * 2 * 3 * 32
    assert len(sizes) == 99 and sizes == sorted(sizes) and set(sizes[5:]) == {most}
    assert [piece.shape[1] for piece in itertools.islice(module.chunks(ids(2, 400)), 3)] == [8, 4, 4]
