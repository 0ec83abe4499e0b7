"""Small backbones with adapters, and runs of them."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tiny import save_tiny_model
from torch import Tensor

from trainables.files import reference_to
from trainables.pretrained.backbone import Backbone
from trainables.pretrained.folder import read_config
from trainables.registry import architectures, tasks
from trainables.stages import StageContext, make_stages
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

NAMES = ("lora_attn", "lora_keys_up", "lora_keys_gate", "lora_values")
CPU = torch.device("cpu")
VOCABULARY = 257
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {"config": {"model_type": "llama", "vocab_size": VOCABULARY, **SIZES}}
QWEN2 = {"config": {"model_type": "qwen2", "vocab_size": VOCABULARY, **SIZES, "num_key_value_heads": 1}}
GPT2 = {"config": {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 2}}
OF_GPT2 = ["c_attn", "c_fc", "c_proj"]
TASK = SimpleNamespace(vocab_size=VOCABULARY, input_seq_len=16)
TEXT: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": 16, "segments": 2, "eval_segments": 3, "eval_stride": 8},
    **{"train_tokens": 1536, "fit_tokens": 128, "val_tokens": 200, "test_tokens": 160},
}


def built(name: str, backbone: Any = LLAMA, **values: Any) -> Any:
    """The module of an architecture, in evaluation mode."""
    architecture = architectures()[name]
    torch.manual_seed(0)
    return architecture.build(architecture.configuration.from_values({"backbone": backbone, **values}), TASK)


def with_drawn_adapters(module: Any) -> Any:
    """With numbers in both halves of the adapters, as after training."""
    generator = torch.Generator().manual_seed(5)
    state = module.state_dict()
    with torch.no_grad():
        for name in sorted(module.adapters):
            state[name].copy_(torch.randn(state[name].shape, generator=generator) / 4)
    return module


def ids(batch: int = 3, length: int = 16) -> Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def saved_backbone(folder: Path, model_type: str = "llama", **values: Any) -> dict[str, Any]:
    """The value of the field for a folder with weights, which are in ``folder``."""
    save_tiny_model(folder, model_type, VOCABULARY, **values)
    return {"folder": reference_to(folder), "config": read_config(folder)}


def copied_backbone(value: Mapping[str, Any], folder: Path, artifacts: Path) -> dict[str, Path]:
    """The folders of the stages, made as a driver makes them."""
    context = StageContext(artifacts, artifacts, CPU, files={value["folder"]: folder})
    return make_stages(
        Backbone.of(value).stages(tasks()["language_modeling"], tasks()["language_modeling"].configuration_type()), context
    )


def session(artifacts: Path, name: str, backbone: Any, *, task: str = "language_modeling", **more: Any) -> TrainingSession:
    """A started run of two epochs; ``model`` and ``training`` have further values."""
    request = RunRequest(
        run=name,
        architecture=name,
        task=task,
        model={"backbone": backbone, **more.get("model", {})},
        task_values=more.get("task_values", TEXT),
        training={"epochs": 2, "batch_size": 16, "lr": 1e-2, **more.get("training", {})},
        artifacts=artifacts,
    )
    started = TrainingSession(request, CPU)
    started.start()
    return started


def frozen(module: Any) -> dict[str, bytes]:
    """The bytes of each tensor of the backbone, by its own name."""
    return {
        name.replace(".base_layer.", "."): tensor.numpy().tobytes()
        for name, tensor in module.state_dict().items()
        if name not in module.adapters
    }
