"""On a CUDA device top-k attention computes what it computes on the CPU. Needs torch, numpy and pytest alone."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from trainables.registry import architectures

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("chunk", [5, 1024])
def test_outputs_and_gradients_agree_with_the_cpu(chunk: int) -> None:
    architecture, task = architectures()["topk_attention"], SimpleNamespace(vocab_size=23, input_seq_len=12, num_kv_pairs=2)
    values = {"n_neighbors": 3, "query_chunk": chunk, "use_ffn": True, "ffn_n_neighbors": 20, "init_std": 0.3}
    torch.manual_seed(0)
    here = architecture.build(architecture.configuration.from_values(values), task).double()
    there = copy.deepcopy(here).to("cuda")
    ids = torch.randint(23, (3, 12), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(there(ids.cuda()).cpu(), here(ids), rtol=0, atol=1e-9)
    for module, inputs in ((here, ids), (there, ids.cuda())):
        functional.cross_entropy(module(inputs).flatten(0, 1), inputs.flatten()).backward()
    for expected, found in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected.grad, rtol=1e-7, atol=1e-9)
