"""The architecture ``topk_attention``: gpt with fewer keys read, and with fewer hidden units read."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import configurations, over_configurations, token_task
from torch import Tensor, nn
from torch.nn import functional

from trainables.configuration import ConfigurationError
from trainables.layers.feed_forward import FeedForward
from trainables.layers.topk_feed_forward import TopkFeedForward
from trainables.registry import architectures

SPARSE = {"n_neighbors": 3, "query_chunk": 5, "use_ffn": True, "ffn_n_neighbors": 20}


def _build(name: str = "topk_attention", model: object = None, *, seed: int = 0, **values: object) -> nn.Module:
    architecture = architectures()[name]
    torch.manual_seed(seed)
    return architecture.build(model or architecture.configuration.from_values(values), token_task()).double()


def _ids(batch: int = 3, length: int = 12, *, seed: int = 1) -> Tensor:
    return torch.randint(23, (batch, length), generator=torch.Generator().manual_seed(seed))


@st.composite
def _sparse(draw: st.DrawFn) -> object:
    """Any configuration, with fewer hidden units where there is a feed-forward layer."""
    model = draw(configurations(architectures()["topk_attention"]))
    units = draw(st.none() | st.integers(1, 40)) if model.use_ffn else None
    return type(model).from_values({**model.to_values(), "ffn_n_neighbors": units})


def _gradients(module: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten()).backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@over_configurations(max_examples=25)
@given(model=_sparse(), position=st.integers(1, 11))
def test_later_tokens_change_nothing_earlier(model: object, position: int) -> None:
    module, ids, changed = _build(model=model), _ids(), _ids()
    changed[:, position:] = (changed[:, position:] + 1) % 23
    torch.testing.assert_close(module(changed)[:, :position], module(ids)[:, :position], rtol=0, atol=1e-12)


@over_configurations(max_examples=25)
@given(model=_sparse())
def test_a_row_does_not_see_the_rest_of_its_batch(model: object) -> None:
    module, ids = _build(model=model), _ids()
    torch.testing.assert_close(module(ids[1:2]), module(ids)[1:2], rtol=0, atol=1e-12)


@over_configurations(max_examples=25)
@given(model=_sparse())
def test_gradients_are_finite_and_reach_every_parameter(model: object) -> None:
    for name, gradient in _gradients(_build(model=model), _ids()).items():
        assert gradient is not None and gradient.isfinite().all(), name


@over_configurations(max_examples=25)
@given(model=_sparse())
def test_counts_are_those_of_gpt(model: object) -> None:
    topk, gpt = architectures()["topk_attention"], architectures()["gpt"]
    shared = {name: value for name, value in model.to_values().items() if name in gpt.configuration.hyperparameters()}
    dense = gpt.configuration.from_values(shared)
    assert topk.count(model, token_task()) == gpt.count(dense, token_task())
    named = [_build(name, configuration).state_dict() for name, configuration in [("topk_attention", model), ("gpt", dense)]]
    shapes = [{name: weight.shape for name, weight in weights.items()} for weights in named]
    assert shapes[0] == shapes[1]
    assert topk.build.state_elements(model, token_task()) == gpt.build.state_elements(dense, token_task())


@pytest.mark.parametrize("neighbors", [12, 13, 1000])
@pytest.mark.parametrize("units", [None, 256, 1000])
def test_where_everything_is_read_it_is_gpt(neighbors: int, units: int | None) -> None:
    gpt = _build("gpt", use_ffn=True)
    topk = _build(use_ffn=True, n_neighbors=neighbors, ffn_n_neighbors=units)
    assert torch.equal(topk(_ids()), gpt(_ids()))
    expected = _gradients(gpt, _ids())
    for name, gradient in _gradients(topk, _ids()).items():
        assert torch.equal(gradient, expected[name])


@pytest.mark.parametrize("values", [{"n_neighbors": 3}, {"n_neighbors": 1}, {"use_ffn": True, "ffn_n_neighbors": 20}])
def test_where_less_is_read_it_is_not_gpt(values: dict) -> None:
    topk, gpt = (_build(name, init_std=0.3, **given) for name, given in [("topk_attention", values), ("gpt", _of_gpt(values))])
    assert (topk(_ids()) - gpt(_ids())).abs().max() > 1e-3


def _of_gpt(values: dict) -> dict:
    return {name: value for name, value in values.items() if "neighbors" not in name}


@pytest.mark.parametrize("chunk", [1, 4, 12, 36, 1024])
def test_the_size_of_a_chunk_changes_nothing(chunk: int) -> None:
    whole, chunked = (_build(**{**SPARSE, "query_chunk": size}, init_std=0.3) for size in (7, chunk))
    torch.testing.assert_close(chunked(_ids()), whole(_ids()), rtol=0, atol=1e-11)
    expected = _gradients(whole, _ids())
    for name, gradient in _gradients(chunked, _ids()).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-11)


def test_the_same_input_gives_the_same_bits() -> None:
    first, second = (_gradients(_build(**SPARSE), _ids()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_survive_a_checkpoint_and_are_those_of_gpt(tmp_path: Path) -> None:
    saved = _build("gpt", use_ffn=True, seed=3)
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    module = _build(**SPARSE)
    before = module(_ids())
    module.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(module(_ids()), _build(**SPARSE, seed=3)(_ids())) and not torch.equal(module(_ids()), before)


def test_it_computes_the_same_in_inference_mode() -> None:
    module = _build(**SPARSE)
    with torch.inference_mode():
        inferred = module(_ids())
    assert torch.equal(inferred, module(_ids()))


def test_bfloat16_autocast() -> None:
    # Nearly all is read: where products are almost equal, the roundings of half precision choose others.
    module = _build(use_ffn=True, n_neighbors=11, ffn_n_neighbors=255).float()
    exact = module(_ids())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(_ids()).float(), exact, rtol=0.1, atol=0.05)


def _feed_forward(act: str = "silu", n_neighbors: int = 5, chunk: int = 4) -> tuple[FeedForward, TopkFeedForward, Tensor]:
    torch.manual_seed(0)
    dense, x = FeedForward(4, 3, act).double(), torch.randn(2, 5, 4, dtype=torch.float64).requires_grad_()
    return dense, TopkFeedForward(dense, n_neighbors, chunk), x


over_activations = pytest.mark.parametrize("act", ["silu", "relu", "gelu", "sigmoid"])


@over_activations
@pytest.mark.parametrize("units", [12, 100])
def test_a_feed_forward_layer_that_reads_all_its_units_is_the_dense_one(act: str, units: int) -> None:
    dense, sparse, x = _feed_forward(act, units)
    operands = [x, dense.keys.weight, dense.values.weight]
    expected, found = dense(x), sparse(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(output.square().sum(), operands) for output in (found, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-11)


@over_activations
def test_a_feed_forward_layer_reads_the_units_with_the_largest_inputs(act: str) -> None:
    dense, sparse, x = _feed_forward(act)
    expected = []
    for token in x.flatten(0, 1):
        inputs = dense.keys(token)
        largest = sorted(range(12), key=lambda unit: -inputs[unit].item())[:5]
        expected.append(sum(dense.act(inputs[unit]) * dense.values.weight[:, unit] for unit in largest))
    torch.testing.assert_close(sparse(x).flatten(0, 1), torch.stack(expected), rtol=0, atol=1e-12)


def test_gradients_of_a_sparse_feed_forward_layer_are_those_of_finite_differences() -> None:
    _, sparse, x = _feed_forward()
    assert torch.autograd.gradcheck(sparse, (x,))
    names = [name for name, _ in sparse.named_parameters()]
    weights = tuple(parameter.detach().clone().requires_grad_() for parameter in sparse.parameters())
    assert torch.autograd.gradcheck(
        lambda *w: torch.func.functional_call(sparse, dict(zip(names, w, strict=True)), x.detach()), weights
    )


KEPT = [
    {"n_neighbors": 1},
    {"n_neighbors": 32},
    {"n_neighbors": 64, "dk": 16, "dv": 32, "query_chunk": 10},
    {"n_neighbors": 96},
    {"n_neighbors": 8, "use_ffn": True, "ffn_n_neighbors": 32},
    {"n_neighbors": 8, "use_ffn": True, "ffn_n_neighbors": 1000},
    {"use_att": False, "use_ffn": True, "ffn_n_neighbors": 16},
]


@pytest.mark.parametrize("values", KEPT)
def test_activation_elements_are_within_a_tenth_of_what_autograd_keeps(values: dict) -> None:
    architecture, task = architectures()["topk_attention"], token_task(64, 96)
    model = architecture.configuration.from_values(values)
    kept = _kept_per_example(lambda: architecture.build(model, task), 96)
    assert architecture.activation_elements(model, task) == pytest.approx(kept, rel=0.1)


def test_a_long_sequence_keeps_less_than_a_matrix_of_its_weights_would() -> None:
    architecture, task = architectures()["topk_attention"], token_task(64, 1024)
    model = architecture.configuration.from_values({"n_layers": 1, "n_neighbors": 4, "query_chunk": 64, "dim": 16})
    assert _kept_per_example(lambda: architecture.build(model, task), 1024, batch=1) < model.n_heads * 1024**2 / 2


def _kept_per_example(build: Callable[[], nn.Module], length: int, batch: int = 4) -> float:
    """In elements of four bytes, indices included."""
    module, ids = build(), torch.randint(64, (batch, length))
    known = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()} | {ids.untyped_storage().data_ptr()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        functional.cross_entropy(module(ids).flatten(0, 1), ids.flatten())
    return sum(storage.nbytes() for storage in kept.values()) / 4 / batch


def test_the_estimate_accepts_columns_with_and_without_null() -> None:
    architecture, task = architectures()["topk_attention"], token_task(64, 96)
    read = [(8, None), (96, 40), (200, 500), (8, 9)]
    given = [{"use_ffn": True, "n_neighbors": keys, "ffn_n_neighbors": units} for keys, units in read]
    models = [architecture.configuration.from_values(values) for values in given]
    columns = SimpleNamespace(**{name: np.array([getattr(model, name) for model in models]) for name in vars(models[0])})
    assert architecture.activation_elements(columns, task).tolist() == [architecture.activation_elements(m, task) for m in models]
    columns.use_ffn = np.array([False, False, True, True])
    rule = architecture.configuration.rules[-1]
    assert rule.holds(columns).tolist() == [True, False, True, True]


def test_fewer_hidden_units_without_a_feed_forward_layer_are_refused_with_the_cure() -> None:
    configuration = architectures()["topk_attention"].configuration
    with pytest.raises(ConfigurationError, match="set use_ffn: true, or ffn_n_neighbors: null"):
        configuration.from_values({"ffn_n_neighbors": 8})
    for values in ({"n_neighbors": 0}, {"query_chunk": 0}, {"ffn_n_neighbors": 0, "use_ffn": True}):
        with pytest.raises(ConfigurationError, match="must be at least 1, got 0"):
            configuration.from_values(values)
