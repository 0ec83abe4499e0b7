"""Which configurations are refused, with what advice, and what positions do."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from random_configurations import series_task
from series_models import SMALL, build, windows

from trainables.configuration import ConfigurationError
from trainables.layers.codebook.position import sinusoids
from trainables.registry import architectures

REFUSED = [
    ("vq_mlp", {"dim": 7, "pos": "rope"}, "make dim even, or set pos to none or rand"),
    ("vq_mlp", {"dim": 7, "pos": "sin"}, "make dim even, or set pos to none or rand"),
    ("vq_ln_mlp", {"vq_mode": "hard_ema", "codebook_trainable": True}, "set codebook_trainable: false, or vq_mode: hard_ste"),
    ("vq_ln_mlp", {"dim": 1}, "make dim at least 2"),
    ("vq_ln_mlp", {"commitment_weight": 0}, "must be greater than 0"),
    ("vq_ln_mlp", {"ema_decay": 1.5}, "must be at most 1"),
    ("vq_ln_mlp", {"codebook_size": 0}, "must be at least 1"),
    ("grouped_vq_mlp", {"dim": 8, "groups": [4, 4, 4]}, "make it a multiple of their number, which is at least 1"),
    ("grouped_vq_mlp", {"groups": []}, "make it a multiple of their number, which is at least 1"),
    ("grouped_vq_mlp", {"groups": [4, 0]}, "must be at least 1"),
    ("grouped_vq_mlp", {"dim": 3, "groups": [4, 4, 4]}, "make dim at least twice the number of groups"),
    ("hierarchical_vq_mlp", {"levels": []}, "give levels at least one codebook"),
    ("hierarchical_vq_mlp", {"dim": 1}, "make dim at least 2"),
    ("hierarchical_vq_mlp", {"order": "inc", "vq_mode": "hard_ste"}, "set vq_mode: soft, or order: dec"),
    ("grouped_hierarchical_vq_mlp", {"levels": []}, "give levels at least one list of codebooks"),
    ("grouped_hierarchical_vq_mlp", {"levels": [[4, 4], []]}, "make it a multiple of their numbers"),
    ("grouped_hierarchical_vq_mlp", {"dim": 64}, "make it a multiple of their numbers"),
    ("grouped_hierarchical_vq_mlp", {"dim": 4, "levels": [[4], [4] * 4]}, "or set level_norm: none"),
    ("grouped_hierarchical_vq_mlp", {"dim": 4, "levels": [[4] * 4], "level_norm": "none"}, "the first level is normalised"),
]


@pytest.mark.parametrize(("name", "values", "advice"), REFUSED)
def test_a_configuration_that_cannot_work_is_refused_with_advice(name: str, values: dict, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        architectures()[name].configuration.from_values(values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("vq_mlp", {"dim": 1}),
        ("grouped_hierarchical_vq_mlp", {"dim": 4, "levels": [[4], [4] * 4], "level_norm": "none"}),
        ("vq_ln_mlp", {"vq_mode": "hard_ste", "codebook_trainable": True}),
    ],
)
def test_what_can_work_is_not_refused(name: str, values: dict) -> None:
    assert build(name, **values)(windows()).shape == (3, 10, 1)


def test_defaults_are_those_of_the_sources() -> None:
    defaults = {name: architectures()[name].configuration.from_values({}) for name in SMALL}
    assert [model.dim for name, model in defaults.items() if name != "grouped_hierarchical_vq_mlp"] == [64] * 5
    assert defaults["vq_ln_mlp"].codebook_size == 512 and defaults["grouped_vq_mlp"].groups == [512, 512]
    assert {name for name, model in defaults.items() if model.pos == "rand"} == {"vq_ln_pe_mlp"}
    assert all(
        (m.vq_mode, m.codebook_trainable, m.position_std, m.block_size) == ("soft", False, 0.01, 512) for m in defaults.values()
    )


@pytest.mark.parametrize("name", SMALL)
def test_windows_longer_than_the_random_table_are_refused(name: str) -> None:
    architecture = architectures()[name]
    (rule,) = architecture.pair_rules
    assert "raise block_size or lower task.time_steps" in rule.message
    model = architecture.configuration.from_values({**SMALL[name], "pos": "rand", "block_size": 16})
    assert rule.holds(model, series_task(time_steps=16)) and not rule.holds(model, series_task(time_steps=17))
    without = architecture.configuration.from_values({**SMALL[name], "pos": "none", "block_size": 16})
    assert rule.holds(without, series_task(time_steps=17))
    with pytest.raises(ValueError, match="exceeds the 16 rows of the position table: raise block_size"):
        build(name, pos="rand", block_size=16)(windows(length=17))


@pytest.mark.parametrize("name", ["grouped_vq_mlp", "hierarchical_vq_mlp", "grouped_hierarchical_vq_mlp"])
def test_columns_of_lists_are_not_taken_for_a_list_of_columns(name: str) -> None:
    architecture = architectures()[name]
    field = "groups" if name == "grouped_vq_mlp" else "levels"
    lists = np.empty(2, dtype=object)
    lists[:] = [[4, 4], [4]]
    column = lists if name != "grouped_hierarchical_vq_mlp" else [lists]
    model = SimpleNamespace(**{**architecture.configuration.from_values({}).to_values(), field: column})
    with pytest.raises(TypeError, match="expected a list of codebook sizes"):
        architecture.count(model, series_task())


def test_the_random_table_has_its_standard_deviation_and_is_added_before_the_norm() -> None:
    plain, module, x = build("vq_ln_mlp"), build("vq_ln_pe_mlp", position_std=0.3, block_size=2000), windows()
    table = module.blocks.position.table
    assert table.shape == (2000, 8)
    assert table.std() == pytest.approx(0.3, rel=0.03) and table.mean() == pytest.approx(0, abs=0.01)
    expected = plain.blocks.norm(plain.blocks.encoder(x) + table[:10])
    torch.testing.assert_close(module.blocks.queries(x), expected)


def test_a_table_without_spread_is_no_position() -> None:
    assert torch.equal(build("vq_ln_pe_mlp", position_std=0.0)(windows()), build("vq_ln_mlp")(windows()))


@pytest.mark.parametrize("dim", [2, 8, 64])
def test_every_row_of_the_sinusoids_has_the_root_mean_square_asked_for(dim: int) -> None:
    rows = sinusoids(100, dim, 0.05)
    torch.testing.assert_close(rows.square().mean(-1).sqrt(), torch.full((100,), 0.05, dtype=torch.float64))
    assert len(rows.unique(dim=0)) == 100


def test_sinusoids_are_added_before_the_norm_and_not_stored() -> None:
    plain, module, x = build("vq_ln_mlp"), build("vq_ln_mlp", pos="sin", position_std=0.5), windows()
    expected = plain.blocks.norm(plain.blocks.encoder(x) + sinusoids(10, 8, 0.5).float())
    torch.testing.assert_close(module.blocks.queries(x), expected)
    assert list(module.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_rotary_positions_turn_normalised_vectors_and_keep_their_length(name: str) -> None:
    plain, module, x = build(name, pos="none"), build(name, pos="rope"), windows()
    turned, straight = module.blocks.queries(x), plain.blocks.queries(x)
    torch.testing.assert_close(turned.norm(dim=-1), straight.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], straight[:, 0])
    assert not torch.allclose(turned[:, 1:], straight[:, 1:])


def test_soft_models_need_torch_alone() -> None:
    code = (
        "import sys; sys.modules['vector_quantize_pytorch'] = None\n"
        "from types import SimpleNamespace; import torch\n"
        "from trainables.registry import architectures\n"
        "found = architectures()['grouped_hierarchical_vq_mlp']\n"
        "module = found.build(found.configuration.from_values({}), SimpleNamespace(channels=1))\n"
        "print(tuple(module(torch.zeros(2, 3, 1)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3, 1)"
