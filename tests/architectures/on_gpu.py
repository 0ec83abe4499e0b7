"""What a token architecture must do on a GPU as on the CPU. Needs torch alone."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from trainables.registry import architectures


def assert_agrees_with_the_cpu(name: str, values: dict[str, Any]) -> None:
    """Outputs and gradients of a small model in float64."""
    architecture, task = architectures()[name], SimpleNamespace(vocab_size=23, input_seq_len=12, num_kv_pairs=2)
    model = architecture.configuration.from_values(values)
    torch.manual_seed(0)
    here = architecture.build(model, task).double()
    there = copy.deepcopy(here).to("cuda")
    ids = torch.randint(23, (3, 12), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(there(ids.cuda()).cpu(), here(ids), rtol=0, atol=1e-9)
    for module, inputs in ((here, ids), (there, ids.cuda())):
        functional.cross_entropy(module(inputs).flatten(0, 1), inputs.flatten()).backward()
    for expected, found in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected.grad, rtol=1e-7, atol=1e-9)
