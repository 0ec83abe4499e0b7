"""Every codebook memory computes what its formula says, in any configuration and with any numbers stored in it."""

import dataclasses

import pytest
import torch
from codebook_oracle import predictions, state_of
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import SERIES_ARCHITECTURES, configurations, over_configurations, series_task
from series_models import SMALL, windows
from torch import nn

from trainables.configuration import Configuration
from trainables.registry import architectures

CODEBOOKS = sorted(SMALL)


def test_every_codebook_architecture_is_held_to_its_formula() -> None:
    assert set(CODEBOOKS) | {"lstm", "lstm_mlp_head"} == set(SERIES_ARCHITECTURES)


ROOMY = {"block_size": 16, "position_std": 0.5}
"""Positions for the whole window, wide enough to be seen."""


@pytest.mark.parametrize("name", CODEBOOKS)
@over_configurations(max_examples=40)
@given(data=st.data())
def test_a_soft_model_is_its_formula(name: str, data: st.DataObject) -> None:
    model = dataclasses.replace(data.draw(configurations(architectures()[name])), vq_mode="soft", **ROOMY)
    channels, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1000))
    assert_computes(randomised(name, model, channels, seed).double(), model, channels, tolerance=1e-10)


@pytest.mark.parametrize("mode", ["hard_ema", "hard_ste"])
@pytest.mark.parametrize("name", CODEBOOKS)
@over_configurations(max_examples=10, derandomize=True)
@given(data=st.data())
def test_a_hard_model_is_its_formula(name: str, mode: str, data: st.DataObject) -> None:
    drawn = data.draw(configurations(architectures()[name]))
    options = {"vq_mode": mode, "codebook_trainable": drawn.codebook_trainable and mode == "hard_ste", **ROOMY}
    model = dataclasses.replace(drawn, **options, **({"order": "dec"} if hasattr(drawn, "order") else {}))
    channels, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1000))
    # The library computes in float32; the same draws always, since a tie that rounding breaks would be found one day.
    assert_computes(randomised(name, model, channels, seed).eval(), model, channels, tolerance=1e-4)


def randomised(name: str, model: Configuration, channels: int, seed: int) -> nn.Module:
    """With numbers in its gains, shifts and biases too, which begin as ones and zeros."""
    torch.manual_seed(seed)
    module = architectures()[name].build(model, series_task(channels))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    return module


def assert_computes(module: nn.Module, model: Configuration, channels: int, tolerance: float) -> None:
    inputs = windows(examples=2, length=9, channels=channels)
    with torch.no_grad():
        found = module(inputs.to(next(module.parameters()).dtype)).double()
    expected = torch.from_numpy(predictions(model, state_of(model, module.state_dict()), inputs.double().numpy()))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
