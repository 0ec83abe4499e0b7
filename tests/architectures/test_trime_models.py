"""``trime`` as a model: the datastore of its variant ext, counts, states, what it keeps, and whole runs."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import configurations, over_configurations
from torch import Tensor
from trime_text import (
    ENTRIES,
    SMALL,
    TRIME,
    VARIANTS,
    VOCABULARY,
    WINDOW,
    Reader,
    before,
    build,
    by_hand,
    encoded,
    ready,
    task,
    text,
)

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.language import TokenBatch
from trainables.registry import architectures
from trainables.retrieval.trime.datastore import OwnDatastore
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

# -- the datastore of ext


def test_ext_interpolates_with_the_nearest_entries_of_the_training_text() -> None:
    module, batch, reader = ready("ext", knn_weight=0.4, knn_temperature=2.0, memory_size=3), text(), Reader()
    store = encoded(module, reader.text.ids.view(-1, WINDOW))[1].flatten(0, 1)
    queries = encoded(module, batch.ids.view(-1, WINDOW))[1].flatten(0, 1)
    own = by_hand(module, batch, before(batch, WINDOW, reach=3)).exp()
    expected = []
    for query, target, probability in zip(queries, batch.targets.flatten(), own, strict=True):
        products = store @ query
        nearest = sorted(range(ENTRIES), key=lambda entry: -products[entry])[: SMALL["n_neighbors"]]
        weights = [torch.exp(products[entry] / 2.0) for entry in nearest]
        right = [weight for entry, weight in zip(nearest, weights, strict=True) if reader.text.targets[0, entry] == target]
        expected.append(torch.log(0.4 * sum(right) / sum(weights) + 0.6 * probability))
    found = module.target_log_probabilities(batch)
    torch.testing.assert_close(found.flatten(), torch.stack(expected), rtol=0, atol=1e-10)


def test_training_text_does_not_find_itself() -> None:
    module, batch = ready("ext", knn_weight=1.0, n_neighbors=1, memory_size=0), Reader().text
    copied = module.target_log_probabilities(replace(batch, split="val"))
    own = module.target_log_probabilities(batch)
    store = encoded(module, batch.ids.view(-1, WINDOW))[1].flatten(0, 1)
    products = store @ store.T
    for values, diagonal in ((copied, 0.0), (own, torch.inf)):
        best = (products - torch.diag(torch.full((ENTRIES,), diagonal).nan_to_num())).argmax(1)
        hit = batch.targets[0, best] == batch.targets[0]
        torch.testing.assert_close(values[0], torch.where(hit, 0.0, -1e4).double())


def test_the_datastore_is_made_anew_and_dropped_by_training() -> None:
    module, batch = ready("ext"), text()
    first = module.target_log_probabilities(batch)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
        stale = module.target_log_probabilities(batch)
        module.before_evaluation(Reader())
        assert not torch.allclose(module.target_log_probabilities(batch), stale)
    assert not torch.allclose(first, stale)
    assert module.final_metrics() == {"datastore/mib": ENTRIES * (8 * 8 + 4) / 2**20}
    module.training_loss(batch)
    assert module.final_metrics() == {}
    with pytest.raises(RuntimeError, match="before_evaluation"):
        module.target_log_probabilities(batch)


@pytest.mark.parametrize("entries", [ENTRIES - WINDOW, ENTRIES + WINDOW])
def test_a_text_of_another_length_is_refused(entries: int) -> None:
    with pytest.raises((ValueError, IndexError), match=f"have {ENTRIES} entries"):
        build("ext").before_evaluation(Reader(entries))


def test_blocks_of_queries_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(9, 4, generator=generator), torch.randn(7, 4, generator=generator)
    tokens, targets = torch.randint(3, (9,), generator=generator), torch.randint(3, (7,), generator=generator)
    found = [OwnDatastore(keys, tokens, size).target_probability(queries, targets, 4, 1.0) for size in (1, 20, 10**6)]
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


# -- what every architecture owes


def tasks() -> st.SearchStrategy[SimpleNamespace]:
    lengths = {"input_seq_len": st.integers(1, 20), "train_tokens": st.integers(1, 50)}
    return st.builds(task, vocab_size=st.integers(2, 40), **lengths)


@over_configurations(max_examples=40)
@given(data=st.data(), chosen=tasks(), weight=st.sampled_from([0.0, 0.3]))
def test_counts_are_those_of_gpt_and_what_is_held_outside(data: st.DataObject, chosen: SimpleNamespace, weight: float) -> None:
    model = replace(data.draw(configurations(TRIME)), knn_weight=weight)  # type: ignore[type-var]
    with torch.device("meta"):
        module = TRIME.build(model, chosen)
    counts = TRIME.count(model, chosen)
    assert counts.by_scope() == measure_counts(module).by_scope()
    entries = {
        "local": min(model.memory_size, chosen.input_seq_len),
        "long": model.memory_size,
        "ext": chosen.train_tokens if weight else 0,
    }
    assert counts.external == entries[model.variant] * (model.dim + 1)
    gpt = architectures()["gpt"]
    alone = gpt.configuration.from_values({name: getattr(model, name) for name in gpt.configuration.hyperparameters()})
    assert replace(counts, external=0) == gpt.count(alone, chosen)


@pytest.mark.parametrize("function", ["count", "activation_elements"])
def test_closed_forms_accept_columns(function: str) -> None:
    models = [
        TRIME.configuration.from_values({"variant": variant, "dim": dim, "memory_size": size, "knn_weight": weight})
        for variant, dim, size, weight in zip(
            [*VARIANTS, "ext"], [8, 16, 24, 32], [3, 100, 5, 6], [0.3, 0.3, 0.1, 0.0], strict=True
        )
    ]
    columns = SimpleNamespace(**{name: np.array([getattr(model, name) for model in models]) for name in vars(models[0])})
    closed_form = getattr(TRIME, function)
    found, expected = closed_form(columns, task()), [closed_form(model, task()) for model in models]
    if function == "count":
        found, expected = found.external, [counts.external for counts in expected]
    assert np.broadcast_to(found, 4).tolist() == expected


@pytest.mark.parametrize("values", [{"variant": "ext", "n_neighbors": ENTRIES + 1}, {"variant": "ext", "n_neighbors": 1024}])
def test_more_neighbors_than_entries_are_refused_where_there_is_a_datastore(values: dict) -> None:
    rule = TRIME.pair_rules[0]
    assert not rule.holds(TRIME.configuration.from_values(values), task()) and "n_neighbors" in rule.message
    for other in ({"variant": "long"}, {"knn_weight": 0.0}, {"n_neighbors": ENTRIES}):
        assert rule.holds(TRIME.configuration.from_values({**values, **other}), task())


def test_a_feed_forward_layer_is_demanded_with_a_cure() -> None:
    with pytest.raises(ConfigurationError, match="set use_ffn: true"):
        TRIME.configuration.from_values({"use_ffn": False})
    assert TRIME.configuration.from_values({}).use_ffn


def test_it_begins_as_the_gpt_of_the_same_seed_and_a_state_restores_it() -> None:
    gpt = architectures()["gpt"]
    torch.manual_seed(0)
    shared = {name: value for name, value in SMALL.items() if name != "n_neighbors"}
    plain = gpt.build(gpt.configuration.from_values({**shared, "use_ffn": True}), task()).double()
    for variant in VARIANTS:
        module, other, batch = ready(variant), ready(variant, seed=5), text()
        assert {name: value.tolist() for name, value in plain.state_dict().items()} == {
            name: value.tolist() for name, value in module.state_dict().items()
        }
        expected = module.target_log_probabilities(batch)
        assert not torch.allclose(other.target_log_probabilities(batch), expected)
        other.load_state_dict(module.state_dict())
        other.before_evaluation(Reader())
        assert torch.equal(other.target_log_probabilities(batch), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_finite_and_reach_every_parameter_also_in_bfloat16(variant: str) -> None:
    for autocast in (False, True):
        module = build(variant).float().train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = module.training_loss(text())
            loss.backward()
        assert loss.dtype == torch.float32
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_activation_elements_are_near_what_autograd_keeps(variant: str) -> None:
    long = task(vocab_size=64, input_seq_len=96)
    model = TRIME.configuration.from_values({"variant": variant, "n_layers": 2, "warm_up": 0.0})
    module, rows = TRIME.build(model, long), 3
    tokens = torch.randint(64, (rows, 4 * 96 + 1))
    shape = (rows, 4 * 96)
    batch = TokenBatch(
        tokens[:, :-1],
        tokens[:, 1:],
        torch.zeros(shape, dtype=torch.long),
        torch.arange(rows * 4 * 96).view(shape),
        torch.ones(shape, dtype=torch.bool),
        "train",
    )
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.training_loss(batch)
    assert loss.requires_grad
    assert TRIME.activation_elements(model, long) == pytest.approx(sum(kept.values()) / 4 / (rows * 4), rel=0.06)


def test_the_share_of_the_memory_is_observed() -> None:
    module, batch = build(), text()
    batch.scored[:, :2] = False
    module.share.begin_observation()
    assert module.share.end_observation() == {}
    module.share.begin_observation()
    module.target_log_probabilities(batch)
    found = module.share.end_observation()
    logits, keys = encoded(module, batch.ids.view(-1, WINDOW))
    products = (keys.view(2, -1, 8) @ keys.view(2, -1, 8).mT / math.sqrt(8)).exp()
    memory = torch.tril(products, diagonal=-1).sum(-1)
    share = (memory / (memory + logits.exp().sum(-1).view(2, -1)))[batch.scored]
    assert found == pytest.approx({"gate/mean": share.mean().item(), "gate/std": share.std(correction=0).item()})
    module.target_log_probabilities(batch)
    assert module.share.end_observation() == pytest.approx(found)


def test_it_learns_to_read_its_memory() -> None:
    """Each stretch repeats a random window: nothing but a memory of the windows before knows it."""
    generator = torch.Generator().manual_seed(0)
    losses = {}
    for variant in ("local", "long"):
        module = build(variant, init_std=0.02, dim=32, dk=16, dv=16).float().train()
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
        for _ in range(100):
            window = torch.randint(VOCABULARY, (16, WINDOW), generator=generator)
            tokens = torch.cat((window, window, window[:, :1]), 1)
            batch = replace(text(16, 2 * WINDOW), ids=tokens[:, :-1], targets=tokens[:, 1:])
            batch.scored[:, : WINDOW + 2] = False
            loss = module.training_loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[variant] = loss.item()
    assert losses["long"] < 0.7 * losses["local"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_goes_on_from_a_checkpoint_equals_one_that_never_stopped(variant: str, tmp_path: Path) -> None:
    tokens = {"train_tokens": 2048, "fit_tokens": 128, "val_tokens": 96, "test_tokens": 96}
    request = RunRequest(
        run="a",
        architecture="trime",
        task="language_modeling",
        model={**SMALL, "variant": variant, "warm_up": 0.3, "own_memory_off": 0.5},
        task_values={"input_seq_len": 32, "segments": 4, "eval_segments": 2, **tokens},
        training={"epochs": 3, "batch_size": 3},
        artifacts=tmp_path,
    )

    def losses(session: TrainingSession, steps: int) -> list[dict[str, float]]:
        names = ("train/loss", "val/loss", "test/loss", "gate/mean", "gate/std", "datastore/mib")
        reports = [session.step().metrics for _ in range(steps)]
        return [{name: report[name] for name in names if name in report} for report in reports]

    def started() -> TrainingSession:
        session = TrainingSession(request, torch.device("cpu"))
        session.start()
        return session

    expected = losses(started(), 3)
    interrupted = started()
    assert losses(interrupted, 1) == expected[:1]
    interrupted.save(tmp_path / "checkpoint.pt")
    resumed = started()
    resumed.load(tmp_path / "checkpoint.pt")
    assert losses(resumed, 2) == expected[1:]
    assert 0 < expected[-1]["gate/mean"] < 1 and ("datastore/mib" in expected[-1]) == (variant == "ext")
