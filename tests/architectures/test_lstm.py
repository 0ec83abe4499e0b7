"""LSTMs over a window: the published counts, their beginning, and that they see the past."""

import pytest
import torch
from random_configurations import series_task
from series_models import build, train, windows
from torch import nn

from trainables.counts import measure_counts
from trainables.registry import architectures


def test_the_published_lstm_has_50497_parameters() -> None:
    architecture = architectures()["lstm"]
    model = architecture.configuration.from_values({})
    counts = architecture.count(model, series_task())
    assert (counts.block, counts.other, counts.total, counts.buffers) == (17152 + 33280, 65, 50497, 0)
    assert measure_counts(build("lstm")).by_scope() == counts.by_scope()


def test_the_wide_head_is_four_times_the_states() -> None:
    module = build("lstm_mlp_head", hidden_size=6)
    assert [layer.out_features for layer in module.output_head if isinstance(layer, nn.Linear)] == [24, 1]
    assert architectures()["lstm_mlp_head"].configuration.from_values({}).hidden_size == 512
    assert measure_counts(module).other == 7 * 24 + 25


@pytest.mark.parametrize("name", ["lstm", "lstm_mlp_head"])
def test_weights_are_xavier_uniform_and_biases_zero(name: str) -> None:
    for key, parameter in build(name, hidden_size=48).named_parameters():
        if parameter.ndim == 1:
            assert not parameter.any(), key
        else:
            bound = (6 / sum(parameter.shape)) ** 0.5
            assert parameter.abs().max() <= bound, key
            assert parameter.numel() < 1000 or parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), key


@pytest.mark.parametrize("name", ["lstm", "lstm_mlp_head"])
def test_the_last_output_is_what_the_head_reads(name: str) -> None:
    module, x = build(name, channels=2, hidden_size=8), windows(channels=2)
    outputs, _ = module.blocks(x)
    assert module(x).shape == (3, 1, 2)
    torch.testing.assert_close(module(x), module.output_head(outputs[:, -1:]))


def test_the_prediction_depends_on_the_past() -> None:
    module, x = build("lstm", hidden_size=8), windows()
    changed = x.clone()
    changed[:, :4] += 1.0
    assert (module(changed) - module(x)).abs().max() > 1e-4
    assert not torch.allclose(module(x[:, torch.tensor([3, 1, 2, 0, *range(4, 10)])]), module(x))


@pytest.mark.parametrize("name", ["lstm", "lstm_mlp_head"])
def test_examples_do_not_see_each_other(name: str) -> None:
    module, x = build(name, hidden_size=8), windows(examples=4)
    torch.testing.assert_close(module(x), torch.cat([module(example) for example in x.split(1)]))


def test_random_initial_states_differ_from_call_to_call_and_follow_the_seed() -> None:
    module, zeros, x = build("lstm", random_initial_state=True), build("lstm"), windows(length=2)
    torch.manual_seed(7)
    first, second = module(x), module(x)
    torch.manual_seed(7)
    assert torch.equal(module(x), first) and not torch.allclose(first, second)
    assert torch.equal(zeros(x), zeros(x))


def test_random_initial_states_are_standard_normal() -> None:
    module = build("lstm", random_initial_state=True)
    hidden, cell = module._initial_state(torch.zeros(200, 3, 1))
    assert hidden.shape == cell.shape == (2, 200, 64)
    for state in (hidden, cell):
        assert state.mean() == pytest.approx(0, abs=0.03) and state.std() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("random_initial_state", [False, True])
def test_the_same_seed_gives_the_same_training(random_initial_state: bool) -> None:
    states = []
    for _ in range(2):
        module = build("lstm", hidden_size=8, random_initial_state=random_initial_state)
        train(module)
        states.append(module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["output_head.weight"], build("lstm", hidden_size=8).output_head.weight)
