"""On a CUDA device ``trime`` computes what it computes on the CPU. Needs torch, numpy and pytest alone."""

import copy
from dataclasses import replace

import pytest
import torch
from trime_text import FIELDS, VARIANTS, Reader, build, text

from trainables.language import TokenBatch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def moved(batch: TokenBatch) -> TokenBatch:
    return replace(batch, **{name: getattr(batch, name).cuda() for name in FIELDS})


class MovedReader(Reader):
    def evaluation_batches(self, split: str, batch_size: int, *, windows: bool) -> list[TokenBatch]:
        return [moved(batch) for batch in super().evaluation_batches(split, batch_size, windows=windows)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_gradients_and_probabilities_agree_with_the_cpu(variant: str) -> None:
    here, batch = build(variant, own_memory_off=0.0), text()
    there = copy.deepcopy(here).to("cuda")
    expected, found = here.training_loss(batch), there.training_loss(moved(batch))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-9)
    expected.backward(), found.backward()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-7, atol=1e-9)
    with torch.inference_mode():
        here.before_evaluation(Reader()), there.before_evaluation(MovedReader())
        found, expected = there.target_log_probabilities(moved(batch)).cpu(), here.target_log_probabilities(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
