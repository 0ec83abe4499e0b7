"""The adapter's features against loops, its golden size, and what it is before training."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.retrieval.heads.adapter import Adapter, FeatureScale, adapted_log_probability, adapter_buffers, adapter_parameters
from trainables.retrieval.heads.adapter_features import adapter_features, group_values
from trainables.retrieval.mixing import interpolate, knn_target_probability, neighbor_weights


def neighbours(seed: int, shape: tuple[int, ...], k: int, vocabulary: int = 5) -> tuple[Tensor, Tensor]:
    """Ascending distances and tokens."""
    generator = torch.Generator().manual_seed(seed)
    distances = torch.rand(*shape, k, generator=generator).mul(6).sort(-1).values
    return distances, torch.randint(vocabulary, (*shape, k), generator=generator)


def features_by_loop(
    distances: list[float], tokens: list[int], largest: float, entropy: float, likeliest: int, tau: float
) -> list[float]:
    k, weights = len(tokens), [math.exp(-distance / tau) for distance in distances]
    shares: dict[int, float] = {}
    for weight, token in zip(weights, tokens, strict=True):
        shares[token] = shares.get(token, 0.0) + weight / sum(weights)
    best = max(sorted(shares), key=lambda token: shares[token])
    return [
        *(-distance / tau for distance in distances),
        *(len(set(tokens[: count + 1])) for count in range(k)),
        math.exp(largest),
        entropy,
        shares[best],
        -sum(share * math.log(share) for share in shares.values()),
        float(best == likeliest),
        math.log((distances[-1] + 1e-6) / (distances[0] + 1e-6)),
        tokens.count(best) / k,
        1.0,
    ]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 9), vocabulary=st.integers(1, 12), tau=st.sampled_from([0.5, 1.0, 7.0]))
def test_features_equal_a_loop(seed: int, k: int, vocabulary: int, tau: float) -> None:
    distances, tokens = neighbours(seed, (2, 3), k, vocabulary)
    generator = torch.Generator().manual_seed(seed + 1)
    largest, entropy = -torch.rand(2, 3, generator=generator), torch.rand(2, 3, generator=generator)
    likeliest = torch.randint(vocabulary, (2, 3), generator=generator)
    features = adapter_features(distances, tokens, largest, entropy, likeliest, tau)
    assert features.shape == (2, 3, 2 * k + 8)
    for row in range(2):
        for column in range(3):
            at = (row, column)
            numbers = (largest[at].item(), entropy[at].item(), int(likeliest[at]))
            expected = features_by_loop(distances[at].tolist(), tokens[at].tolist(), *numbers, tau)
            torch.testing.assert_close(features[at], torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_an_exact_match_has_finite_features() -> None:
    distances, tokens = torch.tensor([0.0, 0.0, 1e6]), torch.tensor([4, 4, 1])
    features = adapter_features(distances, tokens, torch.tensor(-0.1), torch.tensor(0.3), torch.tensor(4), 1e-3)
    assert features.isfinite().all() and features[-4] == 1.0


def test_groups_keep_every_weight_and_neighbour() -> None:
    _, tokens = neighbours(0, (50,), 16)
    weights = torch.rand(50, 16).softmax(-1)
    groups = group_values(weights, tokens)
    torch.testing.assert_close(groups.share.sum(-1), torch.ones(50))
    assert (groups.count.sum(-1) == 16).all() and torch.equal(groups.count > 0, groups.token >= 0)
    distinct = torch.tensor([len(set(row.tolist())) for row in tokens])
    assert torch.equal(groups.first.sum(-1), distinct) and torch.equal((groups.count > 0).sum(-1), distinct)


def test_32_neighbours_and_96_hidden_units_are_10209_parameters() -> None:
    adapter = Adapter(32, 96, 0.0, 0.25)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == adapter_parameters(32, 96) == 10_209
    assert sum(buffer.numel() for buffer in adapter.buffers()) == adapter_buffers(32) == 144


@pytest.mark.parametrize("weight", [0.25, 0.6])
def test_an_untrained_adapter_is_a_fixed_weight(weight: float) -> None:
    torch.manual_seed(0)
    distances, tokens = neighbours(1, (4, 20), 8)
    targets, log_base = torch.randint(5, (4, 20)), -3 * torch.rand(4, 20)
    adapter = Adapter(8, 16, 0.0, weight)
    numbers = (-torch.rand(4, 20), torch.rand(4, 20), torch.randint(5, (4, 20)))
    adapter.scale.fit(adapter_features(distances, tokens, *numbers, 2.0))
    logit, corrections = adapter(adapter_features(distances, tokens, *numbers, 2.0))
    assert not corrections.any()
    mixed = adapted_log_probability(log_base, -distances / 2 + corrections, tokens, targets, logit)
    p_knn = knn_target_probability(neighbor_weights(distances, 2.0), tokens, targets)
    torch.testing.assert_close(mixed, interpolate(log_base, p_knn, weight))


def test_probabilities_of_all_tokens_sum_to_one() -> None:
    torch.manual_seed(0)
    _, tokens = neighbours(2, (30,), 8)
    scores, logit, log_base = torch.randn(30, 8), torch.randn(30), torch.randn(30, 5).log_softmax(-1)
    parts = [
        adapted_log_probability(log_base[:, token], scores, tokens, torch.full((30,), token), logit).exp() for token in range(5)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(0), torch.ones(30))


@pytest.mark.parametrize("logit", [-200.0, 0.0, 200.0])
def test_gradients_are_finite_where_no_neighbour_has_the_target_or_the_share_is_whole(logit: float) -> None:
    scores, logits = torch.zeros(2, 3, requires_grad=True), torch.full((2,), logit, requires_grad=True)
    tokens, targets = torch.tensor([[1, 1, 2], [3, 3, 3]]), torch.tensor([1, 4])
    adapted_log_probability(torch.full((2,), -1.0), scores, tokens, targets, logits).sum().backward()
    assert scores.grad is not None and logits.grad is not None
    assert scores.grad.isfinite().all() and logits.grad.isfinite().all()
    assert not scores.grad[1].any()
    if logit == 0.0:
        assert scores.grad[0, 0] > 0 > scores.grad[0, 2] and logits.grad[1] < 0


def test_a_scale_makes_what_varies_standard_and_leaves_constants() -> None:
    scale, features = FeatureScale(3), torch.randn(1000, 3) * torch.tensor([300.0, 0.1, 0.0]) + torch.tensor([-900.0, 2.0, 1.0])
    assert torch.equal(scale(features), features)
    scale.fit(features.split(300))
    scaled = scale(features)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled.mean(0), torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-3)


def test_a_trained_adapter_learns_when_neighbours_are_right() -> None:
    torch.manual_seed(0)
    distances, tokens = neighbours(3, (2000,), 4, vocabulary=8)
    right = distances[:, 0] < 0.8
    targets = torch.where(right, tokens[:, 0], torch.randint(8, (2000,)))
    log_base = torch.full((2000,), math.log(1 / 8))
    features = adapter_features(distances, tokens, log_base, torch.full((2000,), math.log(8)), torch.zeros(2000).long(), 1.0)
    adapter = Adapter(4, 16, 0.1, 0.25)
    adapter.scale.fit([features])
    optimizer = torch.optim.Adam(adapter.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        logit, corrections = adapter(features)
        loss = -adapted_log_probability(log_base, -distances + corrections, tokens, targets, logit).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    adapter.eval()
    share = adapter(features)[0].sigmoid()
    assert losses[-1] < losses[0] - 0.1 and share[right].mean() > share[~right].mean() + 0.2
