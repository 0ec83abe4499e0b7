"""On a CUDA device a product-key memory computes what it computes on the CPU. Needs torch, numpy and pytest alone."""

import pytest
import torch
from on_gpu import assert_agrees_with_the_cpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_outputs_and_gradients_agree_with_the_cpu(norm: str) -> None:
    values = {"n_subkeys": 16, "n_neighbors": 8, "query_norm": norm, "init_std": 0.3}
    assert_agrees_with_the_cpu("pkm", values)
