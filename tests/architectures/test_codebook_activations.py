"""What training keeps of the models over series, in closed form against what autograd keeps."""

import pytest
import torch
from random_configurations import series_task
from series_models import HARD_MODES, build, kept_per_example, windows

from trainables.registry import architectures

VARIANTS = [
    ("vq_mlp", {"dim": 32, "codebook_size": 64}),
    ("vq_ln_mlp", {"dim": 32, "codebook_size": 64}),
    ("vq_ln_mlp", {"dim": 64, "codebook_size": 4}),
    ("vq_ln_pe_mlp", {"dim": 32, "codebook_size": 64, "block_size": 96}),
    ("vq_ln_mlp", {"dim": 64, "codebook_size": 4, "codebook_trainable": True}),
    ("grouped_vq_mlp", {"dim": 32, "groups": [16] * 8}),
    ("grouped_vq_mlp", {"dim": 32, "groups": [16, 8, 4, 2], "codebook_trainable": True}),
    ("hierarchical_vq_mlp", {"dim": 32, "levels": [32, 16, 8]}),
    ("hierarchical_vq_mlp", {"dim": 32, "levels": [32, 16, 8], "level_norm": "none"}),
    ("hierarchical_vq_mlp", {"dim": 32, "levels": [16, 32], "order": "inc"}),
    ("hierarchical_vq_mlp", {"dim": 32, "levels": [16, 32], "residual": "add"}),
    ("grouped_hierarchical_vq_mlp", {"dim": 40, "levels": [[4] * 5, [16, 16], [32]]}),
    *[("vq_ln_mlp", {"dim": 32, "codebook_size": 64, **mode}) for mode in HARD_MODES],
    *[("grouped_hierarchical_vq_mlp", {"dim": 40, "levels": [[4] * 5, [16, 16], [32]], **mode}) for mode in HARD_MODES],
]


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_activation_elements_are_within_a_tenth_of_what_autograd_keeps(name: str, values: dict) -> None:
    architecture = architectures()[name]
    expected = architecture.activation_elements(architecture.configuration.from_values(values), series_task(time_steps=96))
    kept = kept_per_example(build(name, **values).train(), windows(examples=16, length=96))
    assert expected == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize(("name", "values"), [("lstm", {}), ("lstm", {"n_layers": 3, "hidden_size": 32}), ("lstm_mlp_head", {})])
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="another kernel keeps other things")
def test_activation_elements_of_an_lstm_are_within_a_tenth_of_what_its_kernel_keeps(name: str, values: dict) -> None:
    architecture = architectures()[name]
    expected = architecture.activation_elements(architecture.configuration.from_values(values), series_task(time_steps=48))
    kept = kept_per_example(build(name, **values).train(), windows(examples=8, length=48))
    assert expected == pytest.approx(kept, rel=0.1)
