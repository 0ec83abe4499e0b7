"""Hard reads: nearest rows, what learns them, and that their state is whole."""

import copy

import pytest
import torch
from series_models import HARD_MODES, SMALL, build, loss_of, train, windows
from torch import nn

from trainables.layers.codebook.hard import HardCodebooks


def _levels(module: nn.Module) -> list[HardCodebooks]:
    return list(module.blocks.reads.levels)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("options", HARD_MODES)
def test_indices_are_those_of_the_nearest_row_and_of_the_library(options: dict, trained: bool) -> None:
    module, x = build("grouped_vq_mlp", **options), windows()
    if trained:
        train(module)
    module.eval()
    level, query = _levels(module)[0], module.blocks.queries(x)
    for group, (part, codes) in enumerate(zip(query.chunk(4, -1), module.chosen_codes(x), strict=True)):
        rows = level.codebooks()[group]
        assert torch.equal(codes, torch.cdist(part.flatten(0, 1), rows).argmin(-1).view(3, 10))
        values, indices, _ = level.quantizers[group](part)
        assert torch.equal(codes, indices)
        torch.testing.assert_close(values, rows[codes])


@pytest.mark.parametrize("options", HARD_MODES)
def test_what_is_read_are_rows_in_training_and_evaluation(options: dict) -> None:
    module, x = build("vq_ln_mlp", **options), windows()
    rows = _levels(module)[0].codebooks()[0].detach().clone()
    codes = module.chosen_codes(x)[0]
    torch.testing.assert_close(module.eval().blocks(x), rows[codes])
    torch.testing.assert_close(module.train().blocks(x), rows[codes])


@pytest.mark.parametrize("options", HARD_MODES)
def test_codebooks_begin_as_the_draw_of_the_soft_model(options: dict) -> None:
    for name in SMALL:
        hard, soft = build(name, **options), build(name)
        for level, expected in zip(_levels(hard), soft.blocks.reads.levels, strict=True):
            assert all(map(torch.equal, level.codebooks(), expected.codebooks()))
            averages = [value for key, value in level.state_dict().items() if key.endswith("embed_avg")]
            assert all(torch.equal(average[0], rows) for average, rows in zip(averages, expected.codebooks(), strict=True))


@pytest.mark.parametrize(
    ("options", "moves"), [(HARD_MODES[0], True), (HARD_MODES[1], False), (HARD_MODES[2], True)], ids=["ema", "fixed", "learned"]
)
def test_rows_move_where_something_learns_them(options: dict, moves: bool) -> None:
    module = build("grouped_hierarchical_vq_mlp", **options)
    before = [rows.detach().clone() for level in _levels(module) for rows in level.codebooks()]
    train(module)
    after = [rows for level in _levels(module) for rows in level.codebooks()]
    assert [not torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [moves] * len(before)


def test_moving_averages_follow_the_vectors_that_chose_a_row() -> None:
    module, x = build("vq_ln_mlp", codebook_size=1, vq_mode="hard_ema", ema_decay=0.75).train(), windows()
    row = _levels(module)[0].codebooks()[0].clone()
    query = module.blocks.queries(x).detach().flatten(0, 1)
    module(x)
    # One row: its use was counted as 1, its sum is the row; both keep three quarters.
    expected = (0.75 * row + 0.25 * query.sum(0)) / (0.75 + 0.25 * len(query))
    torch.testing.assert_close(_levels(module)[0].codebooks()[0], expected)


@pytest.mark.parametrize("options", HARD_MODES)
def test_evaluation_and_looking_at_codes_change_nothing(options: dict) -> None:
    module = build("hierarchical_vq_mlp", **options)
    train(module)
    before = copy.deepcopy(module.state_dict())
    module.chosen_codes(windows(seed=9))
    module.eval()
    module(windows(seed=9))
    module.chosen_codes(windows(seed=9))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("options", HARD_MODES)
def test_a_saved_state_continues_bit_for_bit(options: dict, tmp_path: object) -> None:
    module, restored = build("hierarchical_vq_mlp", **options), build("hierarchical_vq_mlp", seed=5, **options)
    train(module)
    path = f"{tmp_path}/state.pt"
    torch.save(module.state_dict(), path)
    restored.load_state_dict(torch.load(path, weights_only=True))
    train(module, seed=20)
    train(restored, seed=20)
    expected, found = module.state_dict(), restored.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert torch.equal(module.eval()(windows()), restored.eval()(windows()))


@pytest.mark.parametrize("options", HARD_MODES)
def test_the_commitment_loss_is_the_weighted_distance_to_the_rows(options: dict) -> None:
    module, x = build("grouped_vq_mlp", commitment_weight=0.3, **options).train(), windows()
    query = module.blocks.queries(x)
    rows = [rows.detach().clone() for rows in _levels(module)[0].codebooks()]
    nearest = [rows[codes] for rows, codes in zip(rows, module.chosen_codes(x), strict=True)]
    distances = [(part - row).square().mean() for part, row in zip(query.chunk(4, -1), nearest, strict=True)]
    module(x)
    torch.testing.assert_close(module.auxiliary_loss, 0.3 * torch.stack(distances).sum())


@pytest.mark.parametrize("options", HARD_MODES)
def test_the_commitment_losses_of_all_levels_are_summed(options: dict) -> None:
    module = build("hierarchical_vq_mlp", **options).train()
    module(windows())
    parts = [level.commitment_loss for level in _levels(module)]
    assert len(parts) == 3
    torch.testing.assert_close(module.auxiliary_loss, torch.stack(parts).sum())


def test_there_is_an_auxiliary_loss_in_training_alone() -> None:
    module = build("vq_ln_mlp", vq_mode="hard_ema").train()
    module(windows())
    assert module.auxiliary_loss is not None and module.auxiliary_loss.requires_grad
    module.eval()(windows())
    assert module.auxiliary_loss is None
    soft = build("vq_ln_mlp").train()
    soft(windows())
    assert soft.auxiliary_loss is None


def test_the_gradient_of_what_was_read_passes_straight_through() -> None:
    level = _levels(build("vq_ln_mlp", vq_mode="hard_ste"))[0].train()
    query = windows(channels=8).requires_grad_()
    (level(query) * 3.0).sum().backward()
    torch.testing.assert_close(query.grad, torch.full_like(query, 3.0))


@pytest.mark.parametrize("options", HARD_MODES)
def test_hard_models_are_pointwise_and_examples_do_not_see_each_other(options: dict) -> None:
    module, x = build("hierarchical_vq_mlp", **options).eval(), windows()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]))


def test_a_learned_codebook_gets_gradients_through_the_commitment_loss() -> None:
    module = build("vq_ln_mlp", vq_mode="hard_ste", codebook_trainable=True).train()
    loss_of(module, windows()).backward()
    (rows,) = (parameter for name, parameter in module.named_parameters() if name.endswith("embed"))
    assert rows.grad.abs().max() > 0
