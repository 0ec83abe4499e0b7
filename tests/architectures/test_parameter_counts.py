"""Closed-form counts: the published figures, and agreement with the built modules."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_configurations import (
    MQAR_FAMILY,
    SERIES_ARCHITECTURES,
    TOKEN_ARCHITECTURES,
    configurations,
    over_configurations,
    random_tasks,
    shapes,
    token_task,
)

from trainables.counts import measure_counts
from trainables.registry import architectures

FIGURES = [
    ("gpt", {}, 98560),
    ("gpt", {"dk": 32, "dv": 32}, 65792),
    ("gpt", {"dk": 32, "dv": 32, "use_ffn": True}, 65792 + 4 * (64 + 8 * 64 * 64)),
    ("unified_kv", {}, 98560),
    ("delta_net", {}, 103872),
    ("delta_net", {"use_short_conv": False, "use_output_norm": False}, 99072),
    ("delta_net", {"use_short_conv": False}, 99264),
    ("delta_net", {"use_output_norm": False}, 103680),
    ("delta_net", {"dk": 32, "dv": 32}, 69504),
]


@pytest.mark.parametrize(("name", "values", "block"), FIGURES)
def test_block_counts_are_those_of_the_sources(name: str, values: dict, block: int) -> None:
    architecture = architectures()[name]
    model, task = architecture.configuration.from_values(values), token_task(vocab_size=2048)
    with torch.device("meta"):
        module = architecture.build(model, task)
    assert architecture.count(model, task).block == measure_counts(module).block == block


def test_feed_forward_layers_bring_197120_of_gpt_with_width_32() -> None:
    gpt = architectures()["gpt"]
    assert gpt.count(gpt.configuration.from_values({"dk": 32, "dv": 32, "use_ffn": True}), token_task()).block == 197120


@pytest.mark.parametrize(("width", "total"), [(48, 360768), (32, 328000)])
def test_total_counts_of_gpt_with_2048_tokens(width: int, total: int) -> None:
    gpt = architectures()["gpt"]
    model = gpt.configuration.from_values({"dk": width, "dv": width})
    assert gpt.count(model, token_task(vocab_size=2048)).total == total


@pytest.mark.parametrize("name", [*TOKEN_ARCHITECTURES, *SERIES_ARCHITECTURES])
@over_configurations(max_examples=40)
@given(data=st.data())
def test_count_equals_the_built_module(name: str, data: st.DataObject) -> None:
    architecture = architectures()[name]
    model, task = data.draw(configurations(architecture)), data.draw(random_tasks(architecture))
    with torch.device("meta"):
        module = architecture.build(model, task)
    assert architecture.count(model, task).by_scope() == measure_counts(module).by_scope()


@pytest.mark.parametrize("function", ["count", "activation_elements"])
@pytest.mark.parametrize("name", [*TOKEN_ARCHITECTURES, *SERIES_ARCHITECTURES])
@over_configurations(max_examples=15)
@given(data=st.data())
def test_closed_forms_accept_arrays(name: str, function: str, data: st.DataObject) -> None:
    architecture = architectures()[name]
    shape, task = data.draw(shapes()), data.draw(random_tasks(architecture))
    models = data.draw(st.lists(configurations(architecture, shape), min_size=2, max_size=4))
    closed_form = getattr(architecture, function)
    values = [closed_form(model, task) for model in models]
    together = closed_form(_stacked(models), task)
    if function == "count":
        values, together = [value.by_scope() for value in values], together.by_scope()
        for scope, counted in together.items():
            assert np.broadcast_to(counted, len(models)).tolist() == [value[scope] for value in values]
    else:
        assert np.broadcast_to(together, len(models)).tolist() == values


@pytest.mark.parametrize("name", SERIES_ARCHITECTURES)
@over_configurations(max_examples=15)
@given(data=st.data())
def test_rules_accept_arrays(name: str, data: st.DataObject) -> None:
    architecture, shape = architectures()[name], data.draw(shapes())
    valid = data.draw(st.lists(configurations(architecture, shape), min_size=1, max_size=3))
    wider = [SimpleNamespace(**{**model.to_values(), "dim": model.to_values().get("dim", 1) + 1}) for model in valid]
    models, task = [*valid, *wider], data.draw(random_tasks(architecture))
    namespaces = [(rule, ()) for rule in architecture.configuration.rules] + [(rule, (task,)) for rule in architecture.pair_rules]
    for rule, others in namespaces:
        together = np.broadcast_to(rule.holds(_stacked(models), *others), len(models))
        assert together.tolist() == [bool(rule.holds(model, *others)) for model in models]


def _stacked(models: list) -> SimpleNamespace:
    """Columns, one element a model; of a field that is a list its elements are columns."""
    return SimpleNamespace(**{field: _column([getattr(model, field) for model in models]) for field in vars(models[0])})


def _column(values: list) -> np.ndarray | list:
    return [_column(list(items)) for items in zip(*values, strict=True)] if isinstance(values[0], list) else np.array(values)


HEAD_WIDTHS = np.arange(8, 97, 4)


@pytest.mark.parametrize(
    ("name", "widths", "structures"),
    [
        ("gpt", {"dk": HEAD_WIDTHS, "dv": HEAD_WIDTHS}, 47),
        ("delta_net", {"dk": HEAD_WIDTHS, "dv": HEAD_WIDTHS}, 48),
        ("unified_kv", {"du": np.arange(8, 129, 4)}, 5),
    ],
)
def test_structures_within_two_per_cent_of_98560(name: str, widths: dict, structures: int) -> None:
    architecture = architectures()[name]
    axes = {"n_layers": np.array([2, 4]), "n_heads": np.array([1, 2, 4]), **widths}
    grid = {field: mesh.ravel() for field, mesh in zip(axes, np.meshgrid(*axes.values()), strict=True)}
    model = SimpleNamespace(**{**architecture.configuration.from_values({}).to_values(), **grid})
    feasible = np.abs(architecture.count(model, token_task()).block - 98560) <= 0.02 * 98560
    if name != "unified_kv":
        feasible &= model.dk * model.n_heads <= 4 * model.dim
    assert feasible.sum() == structures


@pytest.mark.parametrize("name", MQAR_FAMILY)
def test_no_buffers(name: str) -> None:
    architecture = architectures()[name]
    assert not list(architecture.build(architecture.configuration.from_values({}), token_task()).buffers())
