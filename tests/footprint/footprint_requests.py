"""Small measurements for the tests."""

from typing import Any

from trainables.footprint.request import FootprintRequest
from trainables.registry import architectures, tasks

GPT = {"dim": 16, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8}
CONFIG = {
    **{"model_type": "qwen2", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}
BACKBONE = {"backbone": {"config": CONFIG}}
MEMORY = {**BACKBONE, "short_term_memory": 4, "input_block": 16, "memory_block": 8, "ltm_capacity": 4}
MODELS: dict[str, dict[str, Any]] = {"gpt": GPT, "causal_lm": BACKBONE, "memo_gpt": MEMORY}


def typed(architecture: str, model: dict[str, Any] | None = None, **task: Any) -> tuple[Any, Any, Any]:
    """The architecture and the configurations of model and task; 64 tokens where ``task`` says nothing else."""
    found, task_type = architectures()[architecture], tasks()["memory_footprint"]
    values = {"n_tokens": 64, "vocab_size": 64, "repeats": 1, **task}
    configured = found.configuration.from_values(MODELS[architecture] if model is None else model)
    return found, configured, task_type.configuration_type.from_values(values)


def footprint_request(architecture: str, model: dict[str, Any] | None = None, **task: Any) -> FootprintRequest:
    """On the CPU with one thread."""
    found, configured, task_values = typed(architecture, model, **task)
    return FootprintRequest(
        architecture=found.name,
        model=configured.to_values(),
        task=task_values.to_values(),
        seed=0,
        device="cpu",
        threads=1,
    )
