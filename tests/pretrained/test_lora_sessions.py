"""Runs of adapters: what changes, what checkpoints hold, and going on from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lora_cases import CPU, LLAMA, NAMES, QWEN2, built, copied_backbone, frozen, ids, saved_backbone, session
from tiny import tiny_model

from trainables.registry import architectures
from trainables.stages import StagedModule


def to_the_end(run: Any) -> dict[str, float]:
    report = run.report_again()
    while not report.finished:
        report = run.step()
    return {name: value for name, value in report.metrics.items() if not name.startswith(("time/", "throughput/"))}


def own(run: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.module.state_dict().items()}


def test_training_leaves_every_frozen_tensor_as_it_was_whatever_has_adapters(tmp_path: Path) -> None:
    ends = []
    for name in NAMES:
        run = session(tmp_path, name, LLAMA)
        before, adapters = frozen(run.module), {key: run.module.state_dict()[key].clone() for key in run.module.adapters}
        to_the_end(run)
        assert frozen(run.module) == before
        assert all(not torch.equal(run.module.state_dict()[key], value) for key, value in adapters.items())
        ends.append(frozen(run.module))
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("from_folder", [False, True])
def test_going_on_from_a_checkpoint_equals_never_stopping(tmp_path: Path, from_folder: bool) -> None:
    backbone: Any = QWEN2
    if from_folder:
        backbone = saved_backbone(tmp_path / "base", "qwen2")
        copied_backbone(backbone, tmp_path / "base", tmp_path)
    run = session(tmp_path, "lora_keys_up", backbone)
    run.step()
    run.save(tmp_path / "one.pt")
    metrics = to_the_end(run)
    again = session(tmp_path, "lora_keys_up", backbone)
    again.load(tmp_path / "one.pt")
    assert again.progress == 1
    assert to_the_end(again) == metrics
    ends = own(run), own(again)
    assert ends[0].keys() == ends[1].keys() and all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_checkpoint_holds_adapters_alone_where_the_backbone_has_a_folder(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "base")
    copied_backbone(backbone, tmp_path / "base", tmp_path)
    run, of_shape = session(tmp_path, "lora_values", backbone), session(tmp_path, "lora_values", LLAMA)
    assert _saved(run, tmp_path) == run.module.adapters
    assert _saved(of_shape, tmp_path) == set(of_shape.module.state_dict())


def _saved(run: Any, folder: Path) -> set[str]:
    run.save(folder / "saved.pt")
    return set(torch.load(folder / "saved.pt", weights_only=True)["module"])


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gpt2"])
@torch.no_grad()
def test_the_weights_of_a_folder_are_under_the_adapters(tmp_path: Path, model_type: str) -> None:
    backbone = saved_backbone(tmp_path / "base", model_type)
    stages = copied_backbone(backbone, tmp_path / "base", tmp_path)
    targets = ["c_attn", "c_proj"] if model_type == "gpt2" else None
    module = built("lora_attn", backbone, target_modules=targets)
    assert isinstance(module, StagedModule)
    module.attach(stages, tmp_path)
    expected = tiny_model(model_type, 257)(input_ids=ids()).logits
    torch.testing.assert_close(module(ids()), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "base")
    stages = copied_backbone(backbone, tmp_path / "base", tmp_path)
    for other in ({"num_hidden_layers": 1}, {"intermediate_size": 40}):
        module = built("lora_attn", {**backbone, "config": {**backbone["config"], **other}})
        with pytest.raises(ValueError, match=r"does not hold the backbone of this run .* remove it, and it will be made again"):
            module.attach(stages, tmp_path)


def test_runs_of_one_folder_share_the_copy_of_its_weights(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "base")
    stages = []
    for name in (*NAMES, "causal_lm"):
        architecture = architectures()[name]
        model = architecture.configuration.from_values({"backbone": backbone})
        stages.append([(stage.name, stage.values) for stage in architecture.stages(model, object, model)])
    assert len(stages[0]) == 1 and all(found == stages[0] for found in stages)


def test_a_run_tells_what_it_trains(tmp_path: Path) -> None:
    run = session(tmp_path, "lora_values", LLAMA, model={"lora_r": 4})
    told = run.once_metrics()
    inner = 4 * (32 + 48) * 2
    assert told["params/trainable"] == 2 * 4 * 2 * (32 + 32) + inner
    assert told["params/total"] == sum(parameter.numel() for parameter in run.module.parameters())
    assert next(run.module.parameters()).device == CPU
