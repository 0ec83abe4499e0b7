"""``spalm``: a cached transformer, and tokens of neighbours mixed into its states."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import configurations, over_configurations
from torch import Tensor, nn

from trainables.configuration import Configuration, ConfigurationError
from trainables.counts import measure_counts
from trainables.language import LanguageModule, TokenBatch, target_log_probabilities
from trainables.layers.neighbor_mixture import NeighborMixture, neighbor_embeddings
from trainables.registry import architectures

FOUND = architectures()["spalm"]
ENTRIES, WINDOW, OPEN = 40, 4, 1e9
BASE = {"architecture": "gpt", "use_ffn": True, "dim": 8, "n_layers": 1, "dk": 4, "dv": 4}
SMALL = {"dim": 16, "dk": 8, "dv": 6, "n_layers": 2, "init_std": 0.3, "n_neighbors": 3, "cache": 4, "base": BASE}
over_options = over_configurations(max_examples=20)


def text_task() -> SimpleNamespace:
    return SimpleNamespace(vocab_size=23, input_seq_len=WINDOW, segments=3, train_tokens=ENTRIES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stages with random neighbours; position 7 has one alone, position 8 none."""
    root, random = tmp_path_factory.mktemp("stages"), np.random.default_rng(0)
    made = {name: root / name for name in ("datastore", "neighbors-train", "neighbors-val", "neighbors-test")}
    for folder in made.values():
        folder.mkdir()
    np.save(made["datastore"] / "keys.npy", random.normal(size=(ENTRIES, 8)).astype(np.float16))
    np.save(made["datastore"] / "values.npy", random.integers(23, size=ENTRIES, dtype=np.int32))
    for folder in list(made.values())[1:]:
        distances = np.sort(random.random((ENTRIES, 16), dtype=np.float32))
        indices = random.integers(ENTRIES, size=(ENTRIES, 16), dtype=np.int32)
        for position, kept in ((7, 1), (8, 0)):
            distances[position, kept:], indices[position, kept:] = np.inf, -1
        np.save(folder / "distances.npy", distances)
        np.save(folder / "indices.npy", indices)
        for name in ("target_log_probability", "largest_log_probability", "entropy"):
            np.save(folder / f"{name}.npy", np.zeros(ENTRIES, dtype=np.float32))
        np.save(folder / "largest_token.npy", np.zeros(ENTRIES, dtype=np.int32))
    return made


@pytest.fixture(scope="module")
def build(folders: dict[str, Path]) -> object:
    def made(model: Configuration | None = None, *, seed: int = 0, **values: object) -> nn.Module:
        torch.manual_seed(seed)
        module = FOUND.build(model or FOUND.configuration.from_values({**SMALL, **values}), text_task()).double()
        module.attach(folders, folders["datastore"])
        return module

    return made


def batch_of(length: int = 12, rows: int = 2, split: str = "train") -> TokenBatch:
    ids = torch.randint(23, (rows, length), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(rows * length).view(rows, length)
    documents = torch.tensor([[0] * 7 + [1] * (length - 7)] * rows)
    return TokenBatch(ids, ids.roll(-1, 1), documents, positions, torch.ones_like(ids, dtype=torch.bool), split)


def stored(folders: dict[str, Path], split: str = "train") -> tuple[Tensor, Tensor]:
    """(ENTRIES, 16) tokens and distances of all positions."""
    indices = np.load(folders[f"neighbors-{split}"] / "indices.npy")
    values = np.load(folders["datastore"] / "values.npy")
    return torch.from_numpy(values[indices]).long(), torch.from_numpy(np.load(folders[f"neighbors-{split}"] / "distances.npy"))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_states_are_mixed_as_the_publication_writes_it(build: object, folders: dict[str, Path], split: str) -> None:
    module, batch = build(), batch_of(split=split)
    nn.init.normal_(module.mixture.gate.weight)
    states = module.hidden_states(batch.ids, batch.documents).flatten(0, 1)
    tokens, distances = stored(folders, split)
    expected = []
    for position, state in enumerate(states):
        there = tokens[position, :3][distances[position, :3] < np.inf]
        embedded = module.embedding.weight[there]
        gate = torch.sigmoid(module.mixture.gate(state)) if len(there) else 1.0
        read = torch.softmax(embedded @ state, dim=0) @ embedded
        expected.append((1 - gate) * read + gate * state)
    torch.testing.assert_close(module.mixed_states(batch).flatten(0, 1), torch.stack(expected), rtol=0, atol=1e-12)
    with torch.inference_mode():
        torch.testing.assert_close(module.mixed_states(batch).flatten(0, 1), torch.stack(expected), rtol=0, atol=1e-12)


def test_with_an_open_gate_it_is_a_plain_transformer_with_a_cache(build: object) -> None:
    module, batch = build(gate_bias_init=OPEN), batch_of()
    states = module.hidden_states(batch.ids, batch.documents)
    assert torch.equal(module.mixed_states(batch), states)
    logits = (states @ module.embedding.weight.T).float()
    expected = torch.log_softmax(logits, -1).gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    assert isinstance(module, LanguageModule)
    torch.testing.assert_close(module.target_log_probabilities(batch), expected)
    assert (build().target_log_probabilities(batch) - expected).abs().max() > 1e-4


def test_one_neighbour_is_its_embedding(build: object, folders: dict[str, Path]) -> None:
    module, batch = build(n_neighbors=1, gate_bias_init=-OPEN), batch_of()
    tokens, _ = stored(folders)
    expected = module.embedding.weight[tokens[:24, 0]].clone()
    expected[8] = module.hidden_states(batch.ids, batch.documents).flatten(0, 1)[8]
    torch.testing.assert_close(module.mixed_states(batch).flatten(0, 1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pos", ["rope", "none"])
@pytest.mark.parametrize("cache", [3, 4, 9])
def test_with_one_layer_a_cache_is_full_attention_to_cache_and_window(build: object, pos: str, cache: int) -> None:
    module, ids = build(n_layers=1, cache=cache, pos=pos), batch_of(16).ids
    whole = build(n_layers=1, cache=0, pos=pos)
    states = module.hidden_states(ids)
    for start in range(0, 16, WINDOW):
        first = max(0, start - cache)
        for attention in (block.att.branch for block in whole.blocks):
            attention.segment_len = start + WINDOW - first
        expected = whole.hidden_states(ids[:, first : start + WINDOW])[:, start - first :]
        torch.testing.assert_close(states[:, start : start + WINDOW], expected, rtol=0, atol=1e-12)


def test_the_cache_has_no_gradient_and_shows_nothing_of_another_document(build: object) -> None:
    module, ids = build(n_layers=1), batch_of().ids
    x = torch.randn(2, 12, 16).double().requires_grad_()
    module.blocks[0].att(x)[:, WINDOW:].square().sum().backward()
    assert not x.grad[:, :WINDOW].any() and x.grad[:, WINDOW:].any()
    documents, changed = torch.tensor([[0] * 6 + [1] * 6] * 2), ids.clone()
    changed[:, :4] = (changed[:, :4] + 1) % 23
    first, other = (module.hidden_states(tokens, documents) for tokens in (ids, changed))
    assert torch.equal(first[:, 6:], other[:, 6:]) and (first[:, 4:6] - other[:, 4:6]).abs().amin() > 1e-9


def test_training_moves_embeddings_and_no_neighbours(build: object, folders: dict[str, Path]) -> None:
    module, batch = build(), batch_of()
    before = {path: path.read_bytes() for folder in folders.values() for path in folder.iterdir()}
    tokens, _ = module._neighbors(batch)
    embedding = module.embedding.weight.detach().clone()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = -target_log_probabilities(module, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and (module.embedding.weight - embedding).abs().min() > 0
    assert torch.equal(module._neighbors(batch)[0], tokens)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_probabilities_sum_to_one_over_all_tokens(build: object) -> None:
    module, batch = build(), batch_of()
    total = sum(
        module.target_log_probabilities(
            TokenBatch(batch.ids, torch.full_like(batch.ids, token), batch.documents, batch.positions, batch.scored, "train")
        ).exp()
        for token in range(23)
    )
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


@over_options
@given(data=st.data())
def test_later_tokens_change_nothing_earlier(build: object, data: st.DataObject) -> None:
    module, position = build(data.draw(configurations(FOUND))), data.draw(st.integers(1, 11), label="position")
    batch, changed = batch_of(), batch_of()
    changed.ids[:, position:] = (changed.ids[:, position:] + 1) % 23
    changed.documents[:, position:] += 1
    changed.positions[:, position:] = (changed.positions[:, position:] + 1) % ENTRIES
    found, expected = (module.mixed_states(each)[:, :position] for each in (changed, batch))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_a_row_does_not_see_the_rest_of_its_batch(build: object, data: st.DataObject) -> None:
    module, batch = build(data.draw(configurations(FOUND))), batch_of()
    parts = (batch.ids, batch.targets, batch.documents, batch.positions, batch.scored)
    alone = TokenBatch(*(part[1:] for part in parts), "train")
    torch.testing.assert_close(module.mixed_states(alone), module.mixed_states(batch)[1:], rtol=0, atol=1e-12)


@over_options
@given(data=st.data())
def test_gradients_are_finite_and_reach_every_parameter(build: object, data: st.DataObject) -> None:
    module = build(data.draw(configurations(FOUND)))
    module.target_log_probabilities(batch_of()).mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@over_options
@given(data=st.data())
def test_counts_are_those_of_the_built_module(data: st.DataObject) -> None:
    model = data.draw(configurations(FOUND))
    with torch.device("meta"):
        module = FOUND.build(model, text_task())
    assert FOUND.count(model, text_task()).by_scope() == measure_counts(module).by_scope()


def test_the_table_counts_once_and_the_base_outside() -> None:
    gpt = architectures()["gpt"]
    counts = FOUND.count(FOUND.configuration.from_values(SMALL), text_task())
    shared = {name: value for name, value in SMALL.items() if name in gpt.configuration.hyperparameters()}
    without = gpt.count(gpt.configuration.from_values(shared), text_task())
    base = gpt.count(gpt.configuration.from_values({k: v for k, v in BASE.items() if k != "architecture"}), text_task())
    assert counts.block == without.block and counts.total == without.total - 23 * 16 + 17
    assert counts.external == ENTRIES * 9 + base.total and counts.frozen == 0


def test_closed_forms_accept_columns() -> None:
    models = [FOUND.configuration.from_values({**SMALL, **values}) for values in ({}, {"cache": 0, "base": {**BASE, "dim": 12}})]
    columns = SimpleNamespace(**{name: np.array([getattr(model, name) for model in models]) for name in vars(models[0])})
    together = FOUND.count(columns, text_task()).by_scope()
    for scope, counted in together.items():
        assert np.broadcast_to(counted, 2).tolist() == [FOUND.count(model, text_task()).by_scope()[scope] for model in models]
    assert FOUND.activation_elements(columns, text_task()).tolist() == [FOUND.activation_elements(m, text_task()) for m in models]


def test_weights_survive_a_checkpoint_with_one_table(build: object) -> None:
    first, other, batch = build(seed=5), build(seed=6), batch_of()
    assert not torch.allclose(first.mixed_states(batch), other.mixed_states(batch))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.target_log_probabilities(batch), other.target_log_probabilities(batch))
    assert other.output_head.weight is other.embedding.weight


def test_the_share_of_the_neighbours_is_watched(build: object) -> None:
    module = build()
    share = module.mixture.share
    share.begin_observation()
    module.mixed_states(batch_of())
    # One of 24 positions has no neighbours.
    assert share.end_observation()["gate/mean"] == pytest.approx((1 - torch.tensor(2.0).sigmoid().item()) * 23 / 24)


def test_figures_of_the_datastore(build: object) -> None:
    assert build().final_metrics() == {"datastore/mib": ENTRIES * (2 * 8 + 4) / 2**20}


def test_neighbours_that_are_missing_or_too_few_are_errors_with_a_cure(build: object, folders: dict[str, Path]) -> None:
    module = FOUND.build(FOUND.configuration.from_values(SMALL), text_task())
    with pytest.raises(RuntimeError, match="attach it to the folders"):
        module.target_log_probabilities(batch_of())
    with pytest.raises(RuntimeError, match="no neighbours of the split fit"):
        build().target_log_probabilities(batch_of(split="fit"))
    with pytest.raises(ValueError, match=r"has 16 neighbours a position, fewer than n_neighbors \(17\)"):
        build(n_neighbors=17)


def test_configurations_that_make_no_sense_are_refused() -> None:
    for values, cure in [({"n_neighbors": 0}, "at least 1"), ({"cache": -1}, "at least 0"), ({"dk": 7}, "make dk even")]:
        with pytest.raises(ConfigurationError, match=cure):
            FOUND.configuration.from_values({**SMALL, **values})
    rule = FOUND.pair_rules[-1]
    for neighbors, fits in [(ENTRIES - 1, True), (ENTRIES, False)]:
        model = FOUND.configuration.from_values({**SMALL, "n_neighbors": neighbors})
        assert rule.holds(model, text_task()) is fits
    assert not FOUND.fits("mqar", "tokens") and FOUND.fits("language_modeling", "tokens")


@pytest.mark.parametrize("k", [1, 3])
def test_gradients_of_the_mixture_are_those_of_finite_differences(k: int) -> None:
    torch.manual_seed(0)
    mixture, embedding = NeighborMixture(4, 0.5).double(), nn.Embedding(6, 4).double()
    nn.init.normal_(mixture.gate.weight)
    tokens, present = torch.randint(6, (5, k)), torch.ones(5, k, dtype=torch.bool)
    present[2], present[3, 1:] = False, False
    states = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weights = (states, embedding.weight)

    def mixed(states: Tensor, table: Tensor) -> Tensor:
        return torch.func.functional_call(mixture, {}, (states, tokens, present, lambda some: table[some]))

    assert torch.autograd.gradcheck(mixed, weights)
    assert torch.equal(mixed(*weights)[2], states[2])
    assert not neighbor_embeddings(states, embedding(tokens), present)[2].any()


@pytest.mark.parametrize("values", [{}, {"n_neighbors": 16}, {"cache": 96, "n_layers": 2}, {"cache": 0, "use_ffn": True}])
def test_activation_elements_are_near_what_autograd_keeps(values: dict, tmp_path: Path, folders: dict[str, Path]) -> None:
    model = FOUND.configuration.from_values({"base": BASE, "dim": 64, "cache": 48, **values})
    task = SimpleNamespace(vocab_size=64, input_seq_len=96, segments=3, train_tokens=ENTRIES)
    module = FOUND.build(model, task)
    module.attach(folders, tmp_path)
    ids = torch.randint(64, (4, 288))
    batch = TokenBatch(ids, ids, torch.zeros_like(ids), ids % ENTRIES, ids >= 0, "train")
    assert 3 * FOUND.activation_elements(model, task) == pytest.approx(kept_per_example(module, batch), rel=0.15)


def kept_per_example(module: nn.Module, batch: TokenBatch) -> float:
    """In elements of four bytes."""
    tensors = [*module.parameters(), batch.ids]
    known, kept = {tensor.untyped_storage().data_ptr() for tensor in tensors}, {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = target_log_probabilities(module, batch).mean()
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / 4 / len(batch.ids)
