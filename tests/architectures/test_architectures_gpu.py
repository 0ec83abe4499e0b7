"""On a CUDA device the architectures compute what they compute on the CPU. Needs torch, numpy and pytest alone."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from trainables.layers.delta_rule import delta_rule
from trainables.registry import architectures

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("name", ["gpt", "unified_kv", "delta_net"])
def test_a_model_agrees_with_the_cpu(name: str) -> None:
    architecture, task = architectures()[name], SimpleNamespace(vocab_size=23, input_seq_len=12, num_kv_pairs=2)
    torch.manual_seed(0)
    model = architecture.configuration.from_values({"use_ffn": True, "pos": "rope"})
    module = architecture.build(model, task).double()
    ids = torch.randint(23, (3, 12), generator=torch.Generator().manual_seed(1))
    here = module(ids)
    torch.testing.assert_close(module.cuda()(ids.cuda()).cpu(), here, rtol=0, atol=1e-9)


def test_the_chunked_delta_rule_agrees_with_the_recurrent_one_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 100, 16), (2, 3, 100, 16), (2, 3, 100, 12), (2, 3, 100), (2, 3, 16, 12)]
    query, key, value, logit, state = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    inputs = [query, functional.normalize(key, dim=-1), value, torch.sigmoid(logit)]
    expected = delta_rule(*inputs, state=state, backend="recurrent")
    found = delta_rule(*(x.cuda() for x in inputs), state=state.cuda(), backend="chunked")
    for here, there in zip(expected, found, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-10)
