"""``trime``: a ``gpt`` with a memory in its output softmax; its formula, and what its memories hold."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from trime_text import FIELDS, TRIME, VARIANTS, VOCABULARY, WINDOW, before, build, by_hand, ready, text

from trainables.language import LanguageModule, OwnLoss, StoringModule, head_log_probabilities
from trainables.retrieval.trime.masses import joint_log_probabilities, memory_masses, vocabulary_masses
from trainables.retrieval.trime.readable import earlier, in_batch
from trainables.retrieval.trime.windows import Windows
from trainables.stages import StagedModule


def test_it_offers_what_the_task_asks_for() -> None:
    module = build()
    assert all(isinstance(module, kind) for kind in (LanguageModule, OwnLoss, StoringModule, StagedModule))
    assert module.reads_stretches and TRIME.tasks == ("language_modeling",)
    assert [build(variant).batching for variant in VARIANTS] == [None, None, "bm25"]
    assert build("ext", batching="random").batching is None


# -- the formula


@pytest.mark.parametrize("variant", ["local", "long"])
def test_an_empty_memory_is_cross_entropy(variant: str) -> None:
    alone = replace(text(), documents=torch.arange(2 * 3 * WINDOW).view(2, -1))
    module = build(variant)
    logits = module(alone.ids.view(-1, WINDOW)).flatten(0, 1)
    expected = functional.cross_entropy(logits, alone.targets.flatten())
    torch.testing.assert_close(module.training_loss(alone), expected, rtol=0, atol=1e-12)


def test_a_batch_of_one_window_without_its_own_memory_is_cross_entropy() -> None:
    module, batch = build("ext", own_memory_off=1.0), text(1, WINDOW)
    expected = functional.cross_entropy(module(batch.ids)[0], batch.targets[0])
    torch.testing.assert_close(module.training_loss(batch), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_memory_of_size_zero_gives_the_probabilities_of_the_gpt_bit_for_bit(variant: str) -> None:
    module, batch = build(variant, memory_size=0, knn_weight=0.0).float(), text()
    ids, targets = (values.view(-1, WINDOW) for values in (batch.ids, batch.targets))
    with torch.no_grad():
        expected = head_log_probabilities(module, module.hidden_states(ids), targets)
        assert torch.equal(module.target_log_probabilities(batch), expected.view(2, -1))


@pytest.mark.parametrize(("variant", "span"), [("local", WINDOW), ("long", 3 * WINDOW)])
def test_the_training_loss_is_the_sum_over_earlier_tokens_by_hand(variant: str, span: int) -> None:
    batch = replace(text(), documents=torch.tensor([[0] * 4 + [1] * 14, [2] * 18]))
    batch.scored[1, :5] = False
    module = build(variant)
    expected = by_hand(module, batch, before(batch, span))
    torch.testing.assert_close(module.training_loss(batch), -expected[batch.scored.flatten()].mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_ext_trains_on_all_tokens_of_other_windows_and_on_its_own_unless_switched_off(off: float) -> None:
    batch = replace(text(), documents=torch.tensor([[0] * 4 + [1] * 14, [2] * 18]))
    others = {
        position: [entry for entry in range(batch.ids.numel()) if entry // WINDOW != position // WINDOW]
        for position in range(batch.ids.numel())
    }
    own = before(batch, WINDOW)
    module = build("ext", own_memory_off=off)
    memory = {position: others[position] + (own[position] if off == 0 else []) for position in others}
    torch.testing.assert_close(module.training_loss(batch), -by_hand(module, batch, memory).mean(), rtol=0, atol=1e-10)


def test_the_own_memory_is_switched_off_by_the_global_generator() -> None:
    module, batch = build("ext", own_memory_off=0.5), text()
    always, never = (build("ext", own_memory_off=off).training_loss(batch).item() for off in (1.0, 0.0))

    def losses(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return [module.training_loss(batch).item() for _ in range(24)]

    assert losses(0) == losses(0) != losses(1)
    assert {round(loss, 9) for loss in losses(0)} == {round(always, 9), round(never, 9)}


@pytest.mark.parametrize(("variant", "span"), [("local", WINDOW), ("long", 3 * WINDOW)])
def test_evaluation_divides_by_the_temperature_and_reaches_memory_size_tokens_back(variant: str, span: int) -> None:
    batch = replace(text(), documents=torch.tensor([[0] * 4 + [1] * 14, [2] * 18]))
    module = build(variant, memory_size=4, softmax_temperature=1.3)
    expected = by_hand(module, batch, before(batch, span, reach=4), temperature=1.3).view(2, -1)
    torch.testing.assert_close(module.target_log_probabilities(batch), expected, rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 3), length=st.integers(1, 14), seed=st.integers(0, 99), block=st.integers(1, 400))
def test_masses_do_not_depend_on_the_blocks_and_bound_the_loss(rows: int, length: int, seed: int, block: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, length, 4, dtype=torch.float64, generator=generator).requires_grad_()
    targets, tokens, documents = (torch.randint(3, (rows, length), generator=generator) for _ in range(3))
    head = nn.Linear(4, 3, bias=False).double()
    found = [memory_masses(values, targets, tokens, earlier(documents), at_once=size) for size in (block, 2**20)]
    gradients = [torch.autograd.grad(sum(joint.exp().sum() for joint in masses), values)[0] for masses in found]
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert torch.autograd.gradcheck(
        lambda given: memory_masses(given, targets, tokens, earlier(documents), at_once=block), values
    )
    vocabulary = vocabulary_masses(head, values, targets)
    joint = joint_log_probabilities(vocabulary, found[0])
    assert (joint <= 0).all()
    assert (joint >= vocabulary.right - torch.logaddexp(vocabulary.every, found[0].every)).all()
    with torch.no_grad():
        torch.testing.assert_close(joint_log_probabilities(vocabulary_masses(head, values, targets), found[0]), joint)


@pytest.mark.parametrize("variant", ["local", "long"])
def test_where_one_token_repeats_all_of_the_memory_speaks_for_it(variant: str) -> None:
    same = replace(text(1), ids=torch.full((1, 3 * WINDOW), 4), targets=torch.full((1, 3 * WINDOW), 4))
    keys = torch.randn(1, 3 * WINDOW, 8, generator=torch.Generator().manual_seed(0))
    masses = memory_masses(keys, same.targets, same.ids, earlier(same.documents))
    assert torch.equal(masses.right[:, 1:], masses.every[:, 1:]) and (masses.every[:, 1:] > -50).all()
    assert (masses.every[:, 0] < -1e30).all()
    module = build(variant)
    with_memory, without = module.target_log_probabilities(same), build(variant, memory_size=0).target_log_probabilities(same)
    first = torch.arange(3 * WINDOW) % (WINDOW if variant == "local" else 3 * WINDOW) == 0
    assert torch.equal(with_memory[0] > without[0], ~first)


@pytest.mark.parametrize("variant", VARIANTS)
def test_probabilities_over_the_vocabulary_sum_to_one(variant: str) -> None:
    module, batch = ready(variant, softmax_temperature=1.2), text()
    constant = [replace(batch, targets=torch.full_like(batch.targets, token)) for token in range(VOCABULARY)]
    parts = [module.target_log_probabilities(asked) for asked in constant]
    torch.testing.assert_close(torch.stack(parts).exp().sum(0), torch.ones(2, 3 * WINDOW, dtype=torch.float64))


def test_the_warm_up_is_plain_cross_entropy_and_ends() -> None:
    module, batch = build(warm_up=0.25), text()
    plain = functional.cross_entropy(module(batch.ids.view(-1, WINDOW)).flatten(0, 1), batch.targets.flatten())
    found = []
    for fraction in (0.0, 0.2, 0.25, 0.9):
        module.training_progress(fraction)
        found.append(module.training_loss(batch))
    torch.testing.assert_close(torch.stack(found[:2]), plain.expand(2), rtol=0, atol=1e-12)
    assert found[2] == found[3] == build().training_loss(batch) != plain


# -- what memories hold


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 3 * WINDOW + 2), data=st.data())
def test_later_tokens_change_nothing_earlier(variant: str, length: int, data: st.DataObject) -> None:
    module, batch = ready(variant), text(2, length)
    position = data.draw(st.integers(0, length - 1), label="position")
    changed = replace(batch, ids=batch.ids.clone(), targets=batch.targets.clone())
    changed.targets[:, position:] = (changed.targets[:, position:] + 1) % VOCABULARY
    changed.ids[:, position + 1 :] = changed.targets[:, position:-1]
    found, expected = (module.target_log_probabilities(part)[:, :position] for part in (changed, batch))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [3, 2 * WINDOW, 2 * WINDOW + 1])
def test_a_row_does_not_see_the_rest_of_its_batch_in_evaluation(variant: str, length: int) -> None:
    module, batch = ready(variant), text(3, length)
    alone = replace(batch, **{name: getattr(batch, name)[1:2] for name in FIELDS})
    found, expected = module.target_log_probabilities(alone), module.target_log_probabilities(batch)[1:2]
    assert found.shape == (1, length)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stretch_that_ends_early_gives_what_its_beginning_gives(variant: str) -> None:
    module, batch = ready(variant), text(2, 3 * WINDOW)
    short = replace(batch, **{name: getattr(batch, name)[:, : WINDOW + 2] for name in FIELDS})
    expected = module.target_log_probabilities(batch)[:, : WINDOW + 2]
    torch.testing.assert_close(module.target_log_probabilities(short), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("variant", "flows"), [("local", False), ("long", True), ("ext", True)])
def test_gradients_flow_through_the_memory_into_other_windows(variant: str, flows: bool) -> None:
    batch = text(1)
    batch.ids[:, :WINDOW] = VOCABULARY - 1  # stands in the first window alone
    batch.ids[:, WINDOW:].remainder_(VOCABULARY - 1)
    batch.scored[:, : 2 * WINDOW] = False
    module = build(variant)
    module.training_loss(batch).backward()
    gradient = module.embedding.weight.grad[VOCABULARY - 1]
    assert bool(gradient.abs().max() > 1e-6) == flows


def test_other_documents_are_not_remembered() -> None:
    documents = torch.tensor([[0] * WINDOW + [1] * (2 * WINDOW)]).expand(2, -1)
    module, batch = build("long"), text(2, documents=documents)
    changed = replace(batch, ids=batch.ids.clone())
    changed.ids[:, :WINDOW] = (changed.ids[:, :WINDOW] + 1) % VOCABULARY
    found, same = (module.target_log_probabilities(part)[:, WINDOW:] for part in (changed, batch))
    torch.testing.assert_close(found, same, rtol=0, atol=1e-12)
    one = torch.zeros_like(documents)
    found, other = (module.target_log_probabilities(replace(part, documents=one))[:, WINDOW:] for part in (changed, batch))
    assert not torch.allclose(found, other)


def test_a_position_that_stands_in_two_windows_of_a_batch_does_not_read_itself() -> None:
    documents, positions = torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 1, 2], [2, 3, 4]])
    readable = in_batch(documents, positions, own_window=False)(slice(0, 6))[0]
    assert readable.nonzero().tolist() == [
        [query, entry] for query in range(6) for entry in range(6) if query // 3 != entry // 3 and {query, entry} != {2, 3}
    ]


def test_nobody_reads_what_fills_a_last_window() -> None:
    windows = Windows.of(text(2, WINDOW + 2), WINDOW)
    readable = in_batch(windows.documents, windows.positions, own_window=True)(slice(0, 4 * WINDOW))[0]
    real = torch.tensor([True] * (WINDOW + 2) + [False] * (WINDOW - 2)).repeat(2)
    assert not readable[real][:, ~real].any() and readable[real][:, real].any(0).all()
