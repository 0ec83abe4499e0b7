"""The distribution of neighbours and its mixture with a language model."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.retrieval.mixing import interpolate, knn_distribution, knn_target_probability, neighbor_weights

UNIFORM = torch.full((4,), 0.25, dtype=torch.float64).log()


def _golden() -> tuple[Tensor, Tensor]:
    weights = neighbor_weights(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), 1.0)
    return weights, torch.tensor([2, 2, 0])


def test_the_published_example_of_four_tokens() -> None:
    weights, tokens = _golden()
    p_knn = knn_distribution(weights, tokens, 4)
    expected = torch.tensor([0.211942, 0, 0.788058, 0], dtype=torch.float64)
    torch.testing.assert_close(p_knn, expected, rtol=0, atol=5e-7)
    mixed = interpolate(UNIFORM, p_knn, 0.25).exp()
    torch.testing.assert_close(mixed, torch.tensor([0.240485, 0.1875, 0.384515, 0.1875]).double(), rtol=0, atol=6e-7)


def test_the_probability_of_a_target_is_that_of_the_distribution() -> None:
    weights, tokens = _golden()
    every = torch.arange(4)
    of_targets = knn_target_probability(weights.expand(4, 3), tokens.expand(4, 3), every)
    assert torch.equal(of_targets, knn_distribution(weights, tokens, 4))


def test_probabilities_sum_to_one_and_a_temperature_flattens() -> None:
    distances = torch.rand(5, 7, dtype=torch.float64) * 30
    tokens = torch.randint(0, 3, (5, 7))
    log_p_lm = torch.randn(5, 11, dtype=torch.float64).log_softmax(-1)
    for temperature in (0.1, 1.0, 100.0):
        p_knn = knn_distribution(neighbor_weights(distances, temperature), tokens, 11)
        mixed = interpolate(log_p_lm, p_knn, 0.3).exp().sum(-1)
        torch.testing.assert_close(mixed, torch.ones_like(mixed))
    assert neighbor_weights(distances, 1e9).sub(1 / 7).abs().max() < 1e-7


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_weight_of_zero_is_the_language_model_bit_for_bit(as_tensor: bool) -> None:
    log_p_lm, p_knn = torch.randn(100).log_softmax(-1), torch.rand(100)
    weight = torch.zeros(100) if as_tensor else 0.0
    assert torch.equal(interpolate(log_p_lm, p_knn, weight), log_p_lm)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_weight_of_one_is_the_neighbours_alone_and_nothing_is_below_the_least(as_tensor: bool) -> None:
    weight = torch.ones(3) if as_tensor else 1.0
    found = interpolate(torch.full((3,), -1.0), torch.tensor([0.0, 0.25, 1.0]), weight)
    torch.testing.assert_close(found, torch.tensor([-1e4, math.log(0.25), 0.0]))


@given(weight=st.floats(0, 1), p_knn=st.floats(0, 1), p_lm=st.floats(1e-6, 1))
def test_a_tensor_of_weights_gives_what_numbers_give(weight: float, p_knn: float, p_lm: float) -> None:
    log_p_lm, found = torch.tensor([math.log(p_lm)], dtype=torch.float64), torch.tensor([p_knn], dtype=torch.float64)
    single = interpolate(log_p_lm, found, weight)
    torch.testing.assert_close(interpolate(log_p_lm, found, torch.tensor([weight], dtype=torch.float64)), single)
    if weight * p_knn + (1 - weight) * p_lm > 1e-300:
        assert single.exp().item() == pytest.approx(weight * p_knn + (1 - weight) * p_lm, rel=1e-9, abs=1e-300)


def test_gradients_are_finite_where_a_probability_or_a_weight_is_zero_or_one() -> None:
    p_knn = torch.tensor([0.0, 0.0, 0.5, 1.0], requires_grad=True)
    weight = torch.tensor([0.0, 0.5, 1.0, 0.5], requires_grad=True)
    interpolate(torch.full((4,), -2.0), p_knn, weight).sum().backward()
    assert p_knn.grad is not None and weight.grad is not None
    assert p_knn.grad.isfinite().all() and weight.grad.isfinite().all() and weight.grad[1] < 0 < weight.grad[3]
