"""Counts of the codebook memories: the published figures, and what grouping saves."""

import math

import pytest
import torch
from random_configurations import series_task
from series_models import HARD_MODES, SMALL, build

from trainables.counts import measure_counts
from trainables.layers.codebook.effective import combined_index, effective_codes
from trainables.registry import architectures

PUBLISHED = [
    ("vq_mlp", 8, 32, 25, 256),
    ("vq_ln_mlp", 8, 32, 41, 256),
    ("vq_ln_pe_mlp", 8, 32, 41, 256 + 4096),
    ("vq_mlp", 32, 512, 97, 16384),
    ("vq_ln_mlp", 32, 512, 161, 16384),
    ("vq_ln_pe_mlp", 32, 512, 161, 16384 + 16384),
    ("vq_mlp", 16, 128, 49, 2048),
    ("vq_ln_mlp", 16, 128, 81, 2048),
    ("vq_ln_pe_mlp", 16, 128, 81, 2048 + 8192),
]


def _counts(name: str, **values: object) -> tuple[int, int]:
    """Parameters and buffers in closed form, which must be those of the built module."""
    architecture = architectures()[name]
    model, task = architecture.configuration.from_values(values), series_task()
    counted = architecture.count(model, task)
    with torch.device("meta"):
        assert measure_counts(architecture.build(model, task)).by_scope() == counted.by_scope()
    return counted.total, counted.buffers


@pytest.mark.parametrize(("name", "dim", "rows", "parameters", "buffers"), PUBLISHED)
def test_parameters_and_buffers_are_those_of_the_sources(name: str, dim: int, rows: int, parameters: int, buffers: int) -> None:
    assert _counts(name, dim=dim, codebook_size=rows) == (parameters, buffers)


def test_groups_share_one_norm_of_their_own_width() -> None:
    assert _counts("grouped_vq_mlp", dim=32, groups=[32] * 16) == (3 * 32 + 1 + 2 * 2, 32 * 32)


def test_levels_cost_rows_alone_unless_their_norms_are_learned() -> None:
    assert _counts("hierarchical_vq_mlp", dim=8, levels=[32, 16, 4]) == (41, 52 * 8)
    assert _counts("hierarchical_vq_mlp", dim=8, levels=[32, 16, 4], level_norm="affine") == (41 + 2 * 16, 52 * 8)


@pytest.mark.parametrize(
    ("groups", "codes", "rows", "elements"), [([32, 32], 1024, 6.25, 3.125), ([8, 8, 8], 512, 4.6875, 1.5625)]
)
def test_groups_store_few_rows_and_fewer_elements_of_one_codebook_with_as_many_codes(
    groups: list[int], codes: int, rows: float, elements: float
) -> None:
    assert effective_codes(groups) == codes
    dim = 12
    _, stored = _counts("grouped_vq_mlp", dim=dim, groups=groups)
    _, alone = _counts("vq_ln_mlp", dim=dim, codebook_size=codes)
    sizes = build("grouped_vq_mlp", dim=dim, groups=groups).codebook_sizes
    assert 100 * sum(sizes) / build("vq_ln_mlp", dim=dim, codebook_size=codes).codebook_sizes[0] == rows
    assert 100 * stored / alone == elements


def test_the_default_levels_have_the_codes_of_1024_256_and_32_rows() -> None:
    grouped = architectures()["grouped_hierarchical_vq_mlp"]
    levels = grouped.configuration.from_values({}).levels
    assert [effective_codes(level) for level in levels] == [1024, 256, 32]
    assert sum(map(sum, levels)) == 84


@pytest.mark.parametrize("sizes", [[5], [3, 4], [2, 3, 4], [4] * 5])
def test_combined_indices_number_all_combinations_once(sizes: list[int]) -> None:
    chosen = torch.cartesian_prod(*map(torch.arange, sizes)).reshape(-1, len(sizes)).unbind(-1)
    assert sorted(combined_index(chosen, sizes).tolist()) == list(range(math.prod(sizes)))


def test_the_first_codebook_is_the_digit_that_counts_one() -> None:
    assert combined_index([torch.tensor([[3]]), torch.tensor([[2]])], [32, 32]).tolist() == [[3 + 2 * 32]]


def test_combinations_beyond_64_bits_are_refused() -> None:
    index = torch.tensor([1023])
    assert combined_index([index] * 6, [1024] * 6).tolist() == [2**60 - 1]
    with pytest.raises(ValueError, match="do not fit 64 bits: compare the codebooks one by one"):
        combined_index([index] * 7, [1024] * 7)


def test_indices_of_too_few_codebooks_are_refused() -> None:
    with pytest.raises(ValueError, match="expected indices for each of 2 codebooks, at least one, got 1"):
        combined_index([torch.tensor([0])], [4, 4])


@pytest.mark.parametrize(
    "options", [{}, {"codebook_trainable": True}, {"pos": "rand"}, {"pos": "sin"}, {"pos": "rope"}, *HARD_MODES]
)
@pytest.mark.parametrize("name", SMALL)
def test_counts_of_every_mode_are_measured_ones(name: str, options: dict) -> None:
    _counts(name, **{**SMALL[name], **options})


def test_moving_averages_and_marks_of_hard_modes_count_as_buffers() -> None:
    assert _counts("vq_ln_mlp", dim=8, codebook_size=32, vq_mode="hard_ema") == (41, 256 + 256 + 32 + 2)


def test_a_learned_codebook_counts_as_block() -> None:
    learned = build("vq_ln_mlp", codebook_trainable=True)
    counts = measure_counts(learned)
    assert (counts.block, counts.other, counts.buffers) == (16 + 16 + 96, 9, 0)


def test_what_is_stored_does_not_depend_on_whether_it_is_learned() -> None:
    fixed, learned = (measure_counts(build("grouped_vq_mlp", codebook_trainable=flag)).stored for flag in (False, True))
    assert fixed == learned
