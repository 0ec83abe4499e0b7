"""The building blocks on their own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainables.layers.causal_attention import causal_attention
from trainables.layers.feature_maps import KERNELS, NORMS
from trainables.layers.residual import Residual
from trainables.layers.rms_norm import RMSNorm
from trainables.layers.rotary import rotate
from trainables.layers.short_convolution import ShortConvolution


def test_rms_norm_is_torch_s() -> None:
    x, norm = torch.randn(3, 5, 8), RMSNorm(8)
    torch.nn.init.normal_(norm.weight)
    torch.testing.assert_close(norm(x), functional.rms_norm(x, (8,), norm.weight, 1e-6))


def test_rms_norm_of_large_half_precision_numbers_does_not_overflow() -> None:
    normed = RMSNorm(8)(torch.full((2, 8), 60000.0, dtype=torch.float16))
    assert normed.dtype == torch.float16
    torch.testing.assert_close(normed, torch.ones(2, 8, dtype=torch.float16))


@settings(max_examples=20, deadline=None)
@given(half=st.integers(1, 8), shift=st.integers(0, 20), seed=st.integers(0, 2**31))
def test_rotary_products_depend_on_the_distance_alone(half: int, shift: int, seed: int) -> None:
    query, key = torch.randn(2, 2 * half, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    turned_query, turned_key = (rotate(x.expand(1, 30, 1, -1), 100.0)[0, :, 0] for x in (query, key))
    products = turned_query @ turned_key.T
    torch.testing.assert_close(products[shift + 4, shift], products[4, 0])
    torch.testing.assert_close(turned_query.norm(dim=-1), query.norm().expand(30))
    torch.testing.assert_close(turned_query[0], query)


def test_rotary_turns_the_first_pair_by_one_radian_a_position() -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).expand(1, 4, 1, 4)
    position = torch.arange(4, dtype=torch.float64)
    turned = rotate(x, 10000.0)[0, :, 0]
    torch.testing.assert_close(turned[:, 0], position.cos())
    torch.testing.assert_close(turned[:, 2], position.sin())


@pytest.mark.parametrize(("dk", "dv"), [(8, 8), (8, 4), (3, 12)])
def test_causal_attention_is_the_masked_softmax(dk: int, dv: int) -> None:
    query, key = torch.randn(2, 2, 3, 9, dk, dtype=torch.float64)
    value = torch.randn(2, 3, 9, dv, dtype=torch.float64)
    scores = (query @ key.mT / dk**0.5).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(causal_attention(query, key, value), torch.softmax(scores, dim=-1) @ value)


@pytest.mark.parametrize("width", [1, 3, 4])
def test_short_convolution_is_torch_s_causal_depthwise_convolution(width: int) -> None:
    x, layer = torch.randn(2, 7, 5), ShortConvolution(5, width)
    padded = functional.pad(x.mT, (width - 1, 0))
    torch.testing.assert_close(layer(x), functional.conv1d(padded, layer.weight.unsqueeze(1), groups=5).mT)


def test_short_convolution_starts_within_its_bound() -> None:
    weight = ShortConvolution(500, 4).weight
    assert weight.abs().max() <= 0.5 and weight.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.05)


X = torch.tensor([-1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("none", X),
        ("silu", X * torch.sigmoid(X)),
        ("relu", torch.tensor([0.0, 0.0, 2.0])),
        ("elu1", torch.tensor([torch.e**-1, 1.0, 3.0])),
        ("softmax", X.exp() / X.exp().sum()),
    ],
)
def test_kernels(kernel: str, expected: torch.Tensor) -> None:
    torch.testing.assert_close(KERNELS[kernel](X), expected)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("none", X),
        ("l2", X / 5**0.5),
        ("rms", X / (5 / 3) ** 0.5),
        ("sum", X / 3),
        ("softmax", X.exp() / X.exp().sum()),
    ],
)
def test_norms(norm: str, expected: torch.Tensor) -> None:
    torch.testing.assert_close(NORMS[norm](X), expected)


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_norms_of_nothing_have_finite_gradients(norm: str) -> None:
    x = torch.zeros(4, requires_grad=True)
    NORMS[norm](x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_a_multiplying_residual_is_the_identity_while_its_branch_is_zero() -> None:
    branch = torch.nn.Linear(4, 4, bias=False)
    x, residual = torch.randn(2, 3, 4), Residual(4, branch, multiply=True)
    torch.nn.init.zeros_(branch.weight)
    assert torch.equal(residual(x), x)
    torch.nn.init.eye_(branch.weight)
    torch.testing.assert_close(residual(x), x * (1 + residual.norm(x)))
