"""On a CUDA device the same batches and the same measurements as on the CPU."""

import pytest
import torch
from language_corpora import CPU, prepared

from trainables.registry import architectures
from trainables.tasks.language_modeling import LanguageModelingTask

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_a_model_measures_on_a_gpu_what_it_does_on_the_cpu(tmp_path) -> None:
    task = prepared(tmp_path, eval_stride=5)
    gpu = torch.device("cuda")
    there = LanguageModelingTask(task.configuration, tmp_path, gpu)
    for one, other in zip(task.train_batches(3, torch.arange(5)), there.train_batches(3, torch.arange(5)), strict=True):
        assert other.ids.device.type == "cuda" and torch.equal(one.ids, other.ids.to(CPU))
        assert torch.equal(one.scored, other.scored.to(CPU))
    gpt = architectures()["gpt"]
    torch.manual_seed(0)
    module = gpt.build(gpt.configuration.from_values({"dim": 16, "n_layers": 1, "n_heads": 1}), task.configuration).eval()
    with torch.inference_mode():
        here = {**task.evaluate(module, 4), **task.evaluate_finally(module, 4)}
        measured = {**there.evaluate(module.to(gpu), 4), **there.evaluate_finally(module, 4)}
    assert measured == pytest.approx(here, rel=1e-3)
