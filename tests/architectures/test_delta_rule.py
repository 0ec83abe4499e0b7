"""The delta rule: golden vector, identities, and agreement of its two forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trainables.layers.delta_rule import delta_rule

BACKENDS = ("recurrent", "chunked")


def _inputs(length: int, dk: int = 6, dv: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Query, key of unit length, value, write strength and initial state for B = 2, H = 3."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3, length, dk), (2, 3, length, dk), (2, 3, length, dv), (2, 3, length), (2, 3, dk, dv)]
    query, key, value, logit, state = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    return [query, functional.normalize(key, dim=-1), value, torch.sigmoid(logit), state]


def _run(inputs: list[Tensor], backend: str, chunk_size: int = 16) -> tuple[Tensor, Tensor]:
    return delta_rule(*inputs[:4], state=inputs[4], chunk_size=chunk_size, backend=backend)


def _row(*values: object) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float64)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_vector(backend: str, chunk_size: int) -> None:
    key, value = _row((1, 0), (0, 1), (0.6, 0.8), (1, 0)), _row((1, 2), (3, 4), (5, 6), (7, 8))
    beta = _row(1, 1, 0.5, 1)
    output, state = delta_rule(key, key, value, beta, scale=1.0, chunk_size=chunk_size, backend=backend)
    torch.testing.assert_close(output, _row((1, 2), (3, 4), (4, 5.2), (7, 8)))
    torch.testing.assert_close(state, _row((7, 8), (3.8, 4.64)))


@pytest.mark.parametrize(("length", "chunk_size"), [(128, 16), (100, 16), (64, 64), (37, 8)])
def test_chunked_equals_recurrent(length: int, chunk_size: int) -> None:
    inputs = _inputs(length, 16, 12)
    for chunked, recurrent in zip(_run(inputs, "chunked", chunk_size), _run(inputs, "recurrent"), strict=True):
        torch.testing.assert_close(chunked, recurrent, rtol=0, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 70),
    chunk_size=st.integers(1, 40),
    dk=st.integers(1, 9),
    dv=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    strength=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_chunked_equals_recurrent_at_any_size(length: int, chunk_size: int, dk: int, dv: int, seed: int, strength: float) -> None:
    inputs = _inputs(length, dk, dv, seed=seed)
    inputs[3] = strength * inputs[3]
    for chunked, recurrent in zip(_run(inputs, "chunked", chunk_size), _run(inputs, "recurrent"), strict=True):
        torch.testing.assert_close(chunked, recurrent, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float64, 1e-9, 1e-10), (torch.float32, 1e-4, 1e-5)])
def test_gradients_of_both_forms_agree(dtype: torch.dtype, rtol: float, atol: float) -> None:
    gradients = []
    for backend in BACKENDS:
        inputs = [x.requires_grad_() for x in _inputs(37, dtype=dtype)]
        output, state = _run(inputs, backend, 8)
        gradients.append(torch.autograd.grad(output.square().sum() + state.sin().sum(), inputs))
    for recurrent, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(chunked, recurrent, rtol=rtol, atol=atol)


@pytest.mark.parametrize("backend", BACKENDS)
def test_orthonormal_keys_recall_every_value(backend: str) -> None:
    key = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q[None, None]
    value, beta = torch.randn(1, 1, 8, 5, dtype=torch.float64), torch.ones(1, 1, 8, dtype=torch.float64)
    _, state = delta_rule(key, key, value, beta, chunk_size=3, backend=backend)
    torch.testing.assert_close(key @ state, value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_writing_a_key_again_overwrites(backend: str) -> None:
    key = functional.normalize(torch.randn(1, 1, 1, 4, dtype=torch.float64), dim=-1).expand(1, 1, 6, 4)
    value, beta = torch.randn(1, 1, 6, 3, dtype=torch.float64), torch.ones(1, 1, 6, dtype=torch.float64)
    output, state = delta_rule(key, key, value, beta, scale=1.0, chunk_size=4, backend=backend)
    torch.testing.assert_close(output, value)
    torch.testing.assert_close(key[:, :, :1] @ state, value[:, :, -1:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_write_strength_leaves_an_empty_memory(backend: str) -> None:
    query, key, value, beta, _ = _inputs(20)
    output, state = delta_rule(query, key, value, torch.zeros_like(beta), backend=backend)
    assert not output.any() and not state.any()


@settings(max_examples=20, deadline=None)
@given(length=st.integers(2, 60), cut=st.floats(0.01, 0.99), backend=st.sampled_from(BACKENDS), chunk_size=st.integers(1, 20))
def test_state_carries_a_sequence_over_a_cut(length: int, cut: float, backend: str, chunk_size: int) -> None:
    inputs = _inputs(length)
    at = max(1, int(cut * length))
    whole, last = _run(inputs, backend, chunk_size)
    first, between = _run([*(x[:, :, :at] for x in inputs[:4]), inputs[4]], backend, chunk_size)
    second, last_of_two = _run([*(x[:, :, at:] for x in inputs[:4]), between], backend, chunk_size)
    torch.testing.assert_close(torch.cat((first, second), dim=2), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(last_of_two, last, rtol=0, atol=1e-10)


def test_the_query_is_scaled_by_the_key_width_unless_told() -> None:
    query, key, value, beta, _ = _inputs(10)
    default, _ = delta_rule(query, key, value, beta)
    torch.testing.assert_close(default, delta_rule(query, key, value, beta, scale=1.0)[0] / 6**0.5)


def test_half_precision_is_computed_in_float32_even_under_autocast() -> None:
    inputs = [x.to(torch.bfloat16) for x in _inputs(40)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = _run(inputs, "chunked")
    exact, exact_state = _run([x.float() for x in inputs], "recurrent")
    assert output.dtype == torch.bfloat16 and state.dtype == torch.float32
    torch.testing.assert_close(output, exact.to(torch.bfloat16))
    torch.testing.assert_close(state, exact_state, rtol=1e-4, atol=1e-4)
