"""On a CUDA device the same crops and the same measurements as on the CPU."""

from pathlib import Path

import pytest
import torch
from segment_texts import ASKING, CPU, Remembering, prepared, without_speed

from trainables.registry import architectures
from trainables.tasks.segment_lm import SegmentLmTask

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_a_model_measures_on_a_gpu_what_it_does_on_the_cpu(tmp_path: Path) -> None:
    task, gpu = prepared(tmp_path, **ASKING), torch.device("cuda")
    there = SegmentLmTask(task.configuration, tmp_path, gpu)
    for one, other in zip(task.train_batches(3, torch.arange(5)), there.train_batches(3, torch.arange(5)), strict=True):
        assert other.ids.device.type == "cuda" and torch.equal(one.ids, other.ids.to(CPU))
    gpt = architectures()["gpt"]
    torch.manual_seed(0)
    module = gpt.build(gpt.configuration.from_values({"dim": 16, "n_layers": 1, "n_heads": 1}), task.configuration).eval()
    with torch.inference_mode():
        here = {**task.evaluate(module, 4), **task.evaluate_finally(Remembering(), 4)}
        measured = {**there.evaluate(module.to(gpu), 4), **there.evaluate_finally(Remembering(), 4)}
    assert without_speed(measured) == pytest.approx(without_speed(here), rel=1e-3)
