"""Laws of every token architecture on ``language_modeling``: what a probability may depend on, what a run repeats and keeps.

The cases are the registered architectures and some options; what a law does not hold for stands in ``EXCLUSIONS``.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from language_cases import CASES, WINDOW, Trained, digests, reads_stretches, to_the_end
from torch import Tensor, nn

from trainables.language import TokenBatch, target_log_probabilities
from trainables.training.own_state import own_state

_BATCH_NORM = "it normalises by all tokens of a batch, those behind included, which is why layer norm is the default"
_WHOLE_BATCH = "in training its memory is by definition all other windows of the batch, earlier and later ones"
_OWN_WINDOW = "in evaluation its memory is its own window"
_NO_CACHE = "without a cache it sees its own window"
_OF_A_SEQUENCE = "its memory is cleared between sequences, as published, and not between documents"
EXCLUSIONS: dict[tuple[str, str], str] = {
    ("causality of the training loss", "pkm batch norm"): _BATCH_NORM,
    ("independence of the training loss", "pkm batch norm"): _BATCH_NORM,
    **{("causality of the training loss", name): _WHOLE_BATCH for name in ("trime ext", "trime ext bm25")},
    **{("independence of the training loss", name): _WHOLE_BATCH for name in ("trime ext", "trime ext bm25")},
    **{("memory across windows", name): _OWN_WINDOW for name in ("trime local", "trime ext", "trime ext bm25")},
    ("memory across windows", "spalm other documents"): _NO_CACHE,
    **{("isolation of documents", name): _OF_A_SEQUENCE for name in ("memo_gpt", "memo_gpt dual")},
}
"""Law and case, and why the law does not hold; each is shown not to hold."""
TOLERANCE = 1e-5
"""Of log-probabilities, which are taken in single precision."""
STRETCHES = [name for name, case in CASES.items() if reads_stretches(case)]
_OF_ALL = (
    *("causality", "causality of the training loss", "independence", "independence of the training loss"),
    *("isolation of documents", "a distribution", "gradients", "what is shared", "determinism", "round trip", "checkpoints"),
)
LAWS = {**{law: list(CASES) for law in _OF_ALL}, "memory across windows": STRETCHES}
"""Each with the cases that it is asked of."""


def over_cases(law: str) -> pytest.MarkDecorator:
    """All cases of a law; of those that are excluded it is expected that they break it."""

    def marks(name: str) -> list[pytest.MarkDecorator]:
        reason = EXCLUSIONS.get((law, name))
        return [] if reason is None else [pytest.mark.xfail(raises=AssertionError, strict=True, reason=reason)]

    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in LAWS[law]])


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def trained(artifacts: Path) -> Callable[[str], Trained]:
    """Each case trained once; data, base, datastore and neighbours once for all."""
    known: dict[str, Trained] = {}

    def of(name: str) -> Trained:
        if name not in known:
            known[name] = Trained(CASES[name], artifacts)
        return known[name]

    return of


Runs = Callable[[str], Trained]


def test_every_exclusion_names_a_law_and_one_of_its_cases() -> None:
    assert [exclusion for exclusion in EXCLUSIONS if exclusion[1] not in LAWS.get(exclusion[0], [])] == []


def changed_behind(batch: TokenBatch, place: int) -> TokenBatch:
    """Other tokens, targets and documents behind a place of each row."""
    behind = torch.arange(batch.ids.shape[1]) > place
    return replace(
        batch,
        ids=torch.where(behind, (batch.ids * 7 + 3) % 256, batch.ids),
        targets=torch.where(behind, (batch.targets * 5 + 1) % 256, batch.targets),
        documents=torch.where(behind, batch.documents + 1000, batch.documents),
    )


def probabilities(module: nn.Module, batch: TokenBatch) -> Tensor:
    with torch.inference_mode():
        return target_log_probabilities(module, batch)


def training_loss(run: Trained, batch: TokenBatch) -> Tensor:
    """Of the scored targets, in training mode; what is drawn is drawn alike."""
    torch.manual_seed(1)
    loss: Tensor = run.session.task.loss(run.module.train(), batch)
    return loss.detach()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def row(batch: TokenBatch, index: int) -> TokenBatch:
    names = ("ids", "targets", "documents", "positions", "scored")
    return replace(batch, **{name: getattr(batch, name)[index : index + 1] for name in names})


@over_cases("causality")
def test_what_stands_behind_a_token_changes_no_probability_up_to_it(trained: Runs, name: str) -> None:
    run = trained(name)
    module, batch = run.ready(), run.evaluation_text()
    before, length = probabilities(module, batch), batch.ids.shape[1]
    for place in sorted({0, WINDOW // 2, WINDOW - 2, WINDOW - 1, WINDOW, length // 2, length - 2}):
        if place <= length - 2:
            after = probabilities(module, changed_behind(batch, place))
            close(after[:, : place + 1], before[:, : place + 1])
            assert (after[:, place + 1 :] - before[:, place + 1 :]).abs().max() > 1e-3


@over_cases("causality of the training loss")
def test_what_stands_behind_a_token_changes_no_loss_up_to_it(trained: Runs, name: str) -> None:
    run = trained(name)
    batch = run.training_text()
    length = batch.ids.shape[1]
    for place in sorted({0, WINDOW // 2, WINDOW - 1, length // 2, length - 2}):
        scored = (torch.arange(length) <= place).expand_as(batch.ids).contiguous()
        asked = replace(batch, scored=scored)
        close(training_loss(run, changed_behind(asked, place)), training_loss(run, asked))


@over_cases("independence")
def test_a_row_has_the_same_probabilities_alone(trained: Runs, name: str) -> None:
    run = trained(name)
    module, batch = run.ready(), run.evaluation_text()
    together = probabilities(module, batch)
    for index in range(len(batch.ids)):
        close(probabilities(module, row(batch, index)), together[index : index + 1])


@over_cases("independence of the training loss")
def test_a_row_has_the_same_loss_alone(trained: Runs, name: str) -> None:
    run = trained(name)
    batch = run.training_text()
    for index in range(len(batch.ids)):
        mine = torch.zeros_like(batch.scored)
        mine[index] = True
        close(training_loss(run, replace(batch, scored=mine)), training_loss(run, row(batch, index)))


def documents_text(run: Trained, boundary: int, last: int) -> tuple[TokenBatch, TokenBatch]:
    """Three windows of text that are two documents or, with the document ``last`` = 0, one; and the same with other tokens
    before the boundary."""
    batch = run.evaluation_text()
    batch = row(batch, 0) if reads_stretches(run.case) else batch
    flat = batch.ids.view(1, -1)
    before = torch.arange(flat.shape[1]).view(1, -1) < boundary
    other = torch.where(before, (flat * 7 + 3) % 256, flat)
    documents = torch.where(before, 0, last)
    both = [replace(batch, ids=ids.view_as(batch.ids), documents=documents.view_as(batch.ids)) for ids in (flat, other)]
    return both[0], both[1]


@over_cases("isolation of documents")
def test_nothing_before_a_document_counts_in_the_windows_that_begin_with_it(trained: Runs, name: str) -> None:
    run = trained(name)
    module = run.ready()
    for boundary in (WINDOW, 2 * WINDOW):
        first, second = (probabilities(module, text).flatten() for text in documents_text(run, boundary, last=1))
        close(second[boundary:], first[boundary:])


@over_cases("memory across windows")
def test_within_a_document_earlier_windows_count(trained: Runs, name: str) -> None:
    run = trained(name)
    first, second = (probabilities(run.ready(), text).flatten() for text in documents_text(run, WINDOW, last=0))
    assert (second[WINDOW:] - first[WINDOW:]).abs().max() > 1e-4


@over_cases("a distribution")
def test_the_probabilities_of_all_tokens_sum_to_one(trained: Runs, name: str) -> None:
    run = trained(name)
    module, batch = run.ready(), row(run.evaluation_text(), 1)
    tokens = run.session.task.configuration.vocab_size
    fields = ("ids", "documents", "positions", "scored")
    every = replace(batch, **{field: getattr(batch, field).expand(tokens, -1).contiguous() for field in fields})
    every = replace(every, targets=torch.arange(tokens).unsqueeze(1).expand_as(every.ids).contiguous())
    found = probabilities(module, every).double()
    close(found.exp().sum(0), torch.ones(found.shape[1], dtype=torch.float64))
    assert found.max() <= TOLERANCE


@over_cases("gradients")
def test_gradients_are_finite_and_what_is_frozen_has_none(trained: Runs, name: str) -> None:
    run = trained(name)
    module = run.module.train()
    module.zero_grad()
    torch.manual_seed(1)
    loss = run.session.task.loss(module, run.training_text())
    trainable = {key: parameter for key, parameter in module.named_parameters() if parameter.requires_grad}
    assert loss.requires_grad == bool(trainable)
    if trainable:
        loss.backward()
    for key, parameter in module.named_parameters():
        gradient = parameter.grad
        assert gradient is None if key not in trainable else gradient is not None and gradient.isfinite().all(), key
    assert not [key for key, buffer in module.named_buffers() if buffer.requires_grad or buffer.grad is not None]
    module.zero_grad()


@over_cases("what is shared")
def test_training_changes_what_it_trains_and_nothing_that_runs_share(trained: Runs, name: str) -> None:
    run = trained(name)
    assert digests(run.session.stages) == run.shared
    prefixes: tuple[str, ...] = getattr(run.module, "prepared_prefixes", ())
    prepared = {key for key in run.state if key.startswith(prefixes)}
    every = dict(run.module.named_parameters(remove_duplicate=False))
    learned = {key for key, parameter in every.items() if parameter.requires_grad}
    assert not learned & prepared
    changed = {key for key, value in run.state.items() if not torch.equal(value, run.first[key])}
    assert changed & (every.keys() | prepared) == learned


@over_cases("determinism")
def test_two_sessions_of_a_seed_agree_to_the_bit(trained: Runs, artifacts: Path, name: str) -> None:
    run = trained(name)
    again = run.case.started(artifacts)
    assert to_the_end(again) == run.metrics
    assert_same(again.module.state_dict(), run.state)


def assert_same(found: Any, expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@over_cases("round trip")
def test_going_on_from_a_checkpoint_equals_never_stopping(trained: Runs, artifacts: Path, name: str) -> None:
    run = trained(name)
    resumed = run.case.started(artifacts)
    for value in own_state(resumed.module).values():
        value.detach().fill_(3)
    resumed.load(run.checkpoint)
    assert to_the_end(resumed) == run.metrics
    assert_same(resumed.module.state_dict(), run.state)
    with torch.inference_mode():
        measured = resumed.task.evaluate(resumed.module.eval(), 8)
    assert measured == {key: run.metrics[key] for key in measured}


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in tensors(part)]
    return [value] if isinstance(value, Tensor) else []


@over_cases("checkpoints")
def test_a_checkpoint_holds_what_the_run_learns_and_nothing_of_the_base(trained: Runs, name: str) -> None:
    run = trained(name)
    saved = torch.load(run.checkpoint, weights_only=True)
    assert set(saved["module"]) == set(own_state(run.module))
    prepared = run.session.stages.get("base")
    if prepared is not None:
        load_file = pytest.importorskip("safetensors.torch").load_file
        held = [value for value in load_file(prepared / "model.safetensors").values() if value.ndim > 1]
        assert held
        assert not [True for found in tensors(saved) for value in held if found.shape == value.shape and found.equal(value)]
