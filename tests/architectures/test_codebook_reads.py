"""Soft reads: what they return, which architectures are cases of which, and what they can see."""

import pytest
import torch
from series_models import HARD_MODES, SMALL, build, loss_of, train, windows
from torch import nn
from torch.nn import functional

from trainables.layers.codebook.soft import read_weights, soft_read
from trainables.task import CodebookModule

VARIANTS = [
    *SMALL.items(),
    ("hierarchical_vq_mlp", {"order": "inc"}),
    ("hierarchical_vq_mlp", {"order": "inc", "level_norm": "affine"}),
    ("hierarchical_vq_mlp", {"residual": "add", "level_norm": "none"}),
]
POINTWISE = [variant for variant in VARIANTS if variant[0] != "vq_ln_pe_mlp"]


def test_a_read_is_the_softmax_of_products_times_the_rows() -> None:
    x, codebook = torch.randn(2, 5, 6, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)
    torch.testing.assert_close(soft_read(x, [codebook], 2.0), torch.softmax(x @ codebook.T / 2.0, -1) @ codebook)


def test_groups_read_their_own_codebook_with_their_own_part() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    codebooks = [torch.randn(size, 2, dtype=torch.float64) for size in (4, 7, 4)]
    alone = [soft_read(part, [codebook], 1.5) for part, codebook in zip(x.chunk(3, -1), codebooks, strict=True)]
    torch.testing.assert_close(soft_read(x, codebooks, 1.5), torch.cat(alone, dim=-1))


@pytest.mark.parametrize(("name", "values"), [("vq_mlp", {}), ("vq_ln_mlp", {}), ("grouped_vq_mlp", {})])
def test_a_model_is_its_formula(name: str, values: dict) -> None:
    module, x = build(name, **values), windows()
    memory = module.blocks
    h = functional.linear(x, memory.encoder.weight, memory.encoder.bias)
    read = []
    codebooks = memory.reads.levels[0].codebooks()
    for part, codebook in zip(h.chunk(len(codebooks), -1), codebooks, strict=True):
        if name != "vq_mlp":
            part = functional.layer_norm(part, (8 // len(codebooks),), memory.norm.norm.weight, memory.norm.norm.bias)
        read.append(torch.softmax(part @ codebook.T / 8**0.5, -1) @ codebook)
    torch.testing.assert_close(module(x), module.output_head(torch.cat(read, -1)))


@pytest.mark.parametrize(("scale_by", "divisor"), [("model", 8**0.5), ("head", 2**0.5)])
def test_products_are_divided_by_the_root_of_the_model_s_or_the_group_s_width(scale_by: str, divisor: float) -> None:
    module, x = build("grouped_vq_mlp", scale_by=scale_by), windows()
    query, level = module.blocks.queries(x), module.blocks.reads.levels[0]
    torch.testing.assert_close(level(query), soft_read(query, level.codebooks(), divisor))


def test_how_groups_are_scaled_matters() -> None:
    by_model, by_head = (build("grouped_vq_mlp", scale_by=scale)(windows()) for scale in ("model", "head"))
    assert not torch.allclose(by_model, by_head)


EQUAL = [
    ("vq_ln_mlp", {"codebook_size": 12}, "grouped_vq_mlp", {"groups": [12]}),
    ("vq_ln_mlp", {"codebook_size": 12}, "grouped_vq_mlp", {"groups": [12], "scale_by": "head"}),
    ("vq_ln_mlp", {"codebook_size": 12}, "hierarchical_vq_mlp", {"levels": [12]}),
    ("vq_ln_mlp", {"codebook_size": 12}, "hierarchical_vq_mlp", {"levels": [12], "order": "inc"}),
    ("vq_ln_mlp", {"codebook_size": 12}, "grouped_hierarchical_vq_mlp", {"levels": [[12]]}),
    ("vq_ln_mlp", {"codebook_size": 12, "pos": "rand"}, "vq_ln_pe_mlp", {"codebook_size": 12, "block_size": 512}),
    ("grouped_vq_mlp", {"groups": [6, 9]}, "grouped_hierarchical_vq_mlp", {"levels": [[6, 9]]}),
    ("hierarchical_vq_mlp", {"levels": [12, 7]}, "grouped_hierarchical_vq_mlp", {"levels": [[12], [7]]}),
]


@pytest.mark.parametrize("shared", [{}, {"pos": "rope"}, {"codebook_trainable": True}, {"vq_mode": "hard_ema"}])
@pytest.mark.parametrize(("name", "values", "other_name", "other_values"), EQUAL)
def test_degenerate_cases_are_exactly_the_simpler_model(
    name: str, values: dict, other_name: str, other_values: dict, shared: dict
) -> None:
    if shared.get("vq_mode") and other_values.get("order") == "inc":
        shared = {"residual": "none"} if name == "hierarchical_vq_mlp" else {}
    one, other = build(name, **{**values, **shared}), build(other_name, **{**other_values, **shared})
    assert_same_state(one, other)
    train(one)
    train(other)
    assert_same_state(one, other)
    assert torch.equal(one(windows()), other(windows()))


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    expected, found = one.state_dict(), other.state_dict()
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_descending_levels_are_read_one_after_the_other() -> None:
    module, x = build("hierarchical_vq_mlp"), windows()
    h, scale = module.blocks.queries(x), 8**0.5
    first, second, third = (level.codebooks() for level in module.blocks.reads.levels)
    h = soft_read(h, first, scale)
    h = soft_read(functional.layer_norm(h, (8,)), second, scale)
    h = soft_read(functional.layer_norm(h, (8,)), third, scale)
    torch.testing.assert_close(module(x), module.output_head(h))


def test_ascending_codebooks_read_from_each_other_and_the_input_from_the_first() -> None:
    module, x = build("hierarchical_vq_mlp", order="inc", levels=[5, 7, 12]), windows()
    scale = 8**0.5
    first, second, third = (level.codebooks()[0] for level in module.blocks.reads.levels)
    second = soft_read(functional.layer_norm(second, (8,)), [third], scale)
    first = soft_read(functional.layer_norm(first, (8,)), [second], scale)
    expected = module.output_head(soft_read(module.blocks.queries(x), [first], scale))
    torch.testing.assert_close(module(x), expected)
    assert module.codebook_sizes == (5,)


@pytest.mark.parametrize("order", ["dec", "inc"])
def test_residuals_add_what_reads_to_what_was_read(order: str) -> None:
    module, x = build("hierarchical_vq_mlp", order=order, residual="add", level_norm="none", levels=[5, 7]), windows()
    h, scale = module.blocks.queries(x), 8**0.5
    first, second = (level.codebooks()[0] for level in module.blocks.reads.levels)
    if order == "dec":
        h = h + soft_read(h, [first], scale)
        h = h + soft_read(h, [second], scale)
    else:
        first = first + soft_read(first, [second], scale)
        h = h + soft_read(h, [first], scale)
    torch.testing.assert_close(module(x), module.output_head(h))


@pytest.mark.parametrize("order", ["dec", "inc"])
def test_levels_of_one_and_the_same_row_return_it(order: str) -> None:
    module = build("hierarchical_vq_mlp", order=order, levels=[1, 1, 1])
    row = torch.randn(1, 8)
    with torch.no_grad():
        for level in module.blocks.reads.levels:
            level.codebooks()[0].copy_(row)
    torch.testing.assert_close(module.blocks(windows()), row.expand(3, 10, 8))


@pytest.mark.parametrize("change", ["load", "write", "move"])
def test_the_exchange_among_fixed_codebooks_is_kept_until_they_change(change: str) -> None:
    module, other = (build("hierarchical_vq_mlp", order="inc", seed=seed) for seed in (0, 1))
    with torch.inference_mode():
        before = module.blocks.reads.first_codebook()
    assert module.blocks.reads.first_codebook() is before
    if change == "load":
        module.load_state_dict(other.state_dict())
        torch.testing.assert_close(module(windows()), other(windows()))
    elif change == "write":
        module.blocks.reads.levels[2].codebooks()[0].add_(1.0)
        assert not torch.allclose(module.blocks.reads.first_codebook(), before)
    else:
        module.double()
        assert module.blocks.reads.first_codebook().dtype == torch.float64


def test_a_kept_exchange_serves_training_after_an_evaluation() -> None:
    module = build("hierarchical_vq_mlp", order="inc")
    with torch.inference_mode():
        module(windows())
    train(module, steps=1)


@pytest.mark.parametrize("options", [{"level_norm": "affine"}, {"codebook_trainable": True}])
def test_a_learned_exchange_is_done_anew_and_learned(options: dict) -> None:
    module = build("hierarchical_vq_mlp", order="inc", **options)
    before = module.blocks.reads.first_codebook().detach().clone()
    train(module, steps=2)
    assert not torch.allclose(module.blocks.reads.first_codebook(), before)


@pytest.mark.parametrize(("name", "values"), POINTWISE)
def test_an_output_depends_on_the_input_at_its_position_alone(name: str, values: dict) -> None:
    module, x = build(name, **values), windows()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])
    changed = x.clone()
    changed[:, :4] += 1.0
    torch.testing.assert_close(module(changed)[:, 4:], module(x)[:, 4:])


@pytest.mark.parametrize("pos", ["rand", "sin", "rope"])
def test_with_positions_other_steps_still_change_nothing_but_the_order_matters(pos: str) -> None:
    module, x = build("vq_ln_mlp", pos=pos, position_std=0.5), windows()
    changed = x.clone()
    changed[:, :4] += 1.0
    torch.testing.assert_close(module(changed)[:, 4:], module(x)[:, 4:])
    assert not torch.allclose(module(x.flip(1)), module(x).flip(1))


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_examples_do_not_see_each_other(name: str, values: dict) -> None:
    module, x = build(name, **values), windows(examples=4)
    alone = torch.cat([module(example) for example in x.split(1)])
    torch.testing.assert_close(module(x), alone)


@pytest.mark.parametrize("name", ["vq_mlp", "vq_ln_mlp", "vq_ln_pe_mlp", "grouped_vq_mlp"])
def test_what_is_read_lies_in_the_convex_hull_of_the_rows(name: str) -> None:
    module, x = build(name), 10 * windows()
    level, query = module.blocks.reads.levels[0], module.blocks.queries(x)
    weights = level.weights(query)
    assert all((weight >= 0).all() for weight in weights)
    for weight in weights:
        torch.testing.assert_close(weight.sum(-1), torch.ones(3, 10))
    averages = [weight @ rows for weight, rows in zip(weights, level.codebooks(), strict=True)]
    torch.testing.assert_close(module.blocks(x), torch.cat(averages, -1))
    longest = sum(rows.square().sum(-1).max() for rows in level.codebooks()) ** 0.5
    assert (module.blocks(x).norm(dim=-1) <= longest + 1e-5).all()


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_fixed_codebooks_and_positions_are_bit_for_bit_the_same_after_training(name: str, values: dict) -> None:
    module = build(name, **values)
    buffers = {key: value.clone() for key, value in module.named_buffers()}
    parameters = {key: value.clone() for key, value in module.named_parameters()}
    train(module)
    assert buffers
    assert all(torch.equal(value, buffers[key]) for key, value in module.named_buffers())
    assert all(not torch.equal(value, parameters[key]) for key, value in module.named_parameters())


@pytest.mark.parametrize("name", SMALL)
def test_learned_codebooks_all_move(name: str) -> None:
    module = build(name, codebook_trainable=True)
    before = [rows.detach().clone() for level in module.blocks.reads.levels for rows in level.codebooks()]
    train(module, steps=1)
    after = [rows for level in module.blocks.reads.levels for rows in level.codebooks()]
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("options", [{}, {"codebook_trainable": True}, *HARD_MODES])
@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_reaches_the_encoder_in_every_mode(name: str, options: dict) -> None:
    module = build(name, **options).train()
    loss_of(module, windows()).backward()
    gradient = module.blocks.encoder.weight.grad
    assert gradient.isfinite().all() and gradient.abs().max() > 0


@pytest.mark.parametrize("options", [{}, *HARD_MODES])
@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_training(name: str, options: dict) -> None:
    one, other = build(name, **options), build(name, **options)
    train(one)
    train(other)
    assert_same_state(one, other)
    other_seed = build(name, seed=1, **options)
    assert not torch.equal(other_seed.output_head.weight, build(name, **options).output_head.weight)


@pytest.mark.parametrize("options", [{"pos": "rand"}, {"codebook_trainable": True}, {"vq_mode": "hard_ste"}])
def test_models_of_one_seed_begin_alike_whatever_their_options(options: dict) -> None:
    one, other = build("vq_ln_mlp"), build("vq_ln_mlp", **options)
    assert torch.equal(one.blocks.encoder.weight, other.blocks.encoder.weight)
    assert torch.equal(one.output_head.weight, other.output_head.weight)
    assert torch.equal(one.blocks.reads.levels[0].codebooks()[0], other.blocks.reads.levels[0].codebooks()[0])


def test_encoder_and_decoder_are_xavier_uniform_with_zero_biases_and_rows_standard_normal() -> None:
    module = build("vq_ln_mlp", dim=4096, codebook_size=40)
    for layer in (module.blocks.encoder, module.output_head):
        bound = (6 / 4097) ** 0.5
        assert layer.weight.abs().max() <= bound and layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not layer.bias.any()
    rows = module.blocks.reads.levels[0].codebooks()[0]
    assert rows.std() == pytest.approx(1, rel=0.02) and rows.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_several_channels_are_predicted_together(name: str, values: dict) -> None:
    module, x = build(name, channels=3, **values), windows(channels=3)
    assert module(x).shape == (3, 10, 3)
    assert module.auxiliary_loss is None


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_chosen_codes_are_the_heaviest_rows_of_every_codebook(name: str, values: dict) -> None:
    module, x = build(name, **values), windows()
    assert isinstance(module, CodebookModule)
    chosen = module.chosen_codes(x)
    assert len(chosen) == len(module.codebook_sizes)
    for codes, size in zip(chosen, module.codebook_sizes, strict=True):
        assert codes.shape == (3, 10) and codes.dtype == torch.int64
        assert codes.min() >= 0 and codes.max() < size
    first = module.blocks.reads.levels[0].codebooks()
    if values.get("order") == "inc":
        first = [module.blocks.reads.first_codebook()]
    weights = read_weights(module.blocks.queries(x), first, 8**0.5)
    for codes, weight in zip(chosen, weights, strict=False):
        assert torch.equal(codes, weight.argmax(-1))


def test_later_levels_choose_by_what_the_level_before_returned() -> None:
    module, x = build("hierarchical_vq_mlp"), windows()
    first, second, _ = module.blocks.reads.levels
    query = functional.layer_norm(first(module.blocks.queries(x)), (8,))
    assert torch.equal(module.chosen_codes(x)[1], second.weights(query)[0].argmax(-1))


@pytest.mark.parametrize("pos", ["none", "rand", "sin", "rope"])
@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_no_tensor_is_made_on_another_device_than_the_module_s(name: str, values: dict, pos: str) -> None:
    module, x = build(name, **{**values, "pos": pos}).to("meta"), windows().to("meta")
    assert module(x).device == x.device
    assert all(codes.device == x.device for codes in module.chosen_codes(x))
