"""On a CUDA device top-k attention computes what it computes on the CPU. Needs torch, numpy and pytest alone."""

import pytest
import torch
from on_gpu import assert_agrees_with_the_cpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("chunk", [5, 1024])
def test_outputs_and_gradients_agree_with_the_cpu(chunk: int) -> None:
    values = {"n_neighbors": 3, "query_chunk": chunk, "use_ffn": True, "ffn_n_neighbors": 20, "init_std": 0.3}
    assert_agrees_with_the_cpu("topk_attention", values)
