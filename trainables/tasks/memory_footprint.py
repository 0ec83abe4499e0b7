"""Memory footprint: what a model needs for a sequence of a given length, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from trainables.architecture import Architecture
from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.footprint import request
from trainables.footprint.estimate import estimated_mib
from trainables.footprint.session import FootprintSession
from trainables.task import Mode, Task, register_task

_NO_CACHE = Rule(
    lambda model, task: task.mode != "infer_kv_cache",
    "this architecture keeps no cache of keys and values, so that mode: infer_kv_cache has nothing to measure: "
    "take infer_no_cache or train_step",
)


@dataclass(frozen=True, kw_only=True)
class MemoryFootprintConfiguration(Configuration):
    """What is measured."""

    n_tokens: int = hyperparameter(1024, "tokens of a sequence", minimum=1)
    mode: request.Mode = hyperparameter(
        "infer_no_cache",
        "what is done: a forward pass to the logits of all positions, the same with keys and values cached, or the second step "
        "of training with AdamW",
    )
    dtype: request.Precision = hyperparameter("float32", "precision of weights, states, gradients and moments")
    batch_size: int = hyperparameter(1, "sequences at once", minimum=1)
    repeats: int = hyperparameter(3, "measurements after one to warm up, of which the largest counts", minimum=1)
    vocab_size: int = hyperparameter(
        50257, "size of the vocabulary, for architectures without a backbone, which has its own", minimum=2
    )
    seed: int = hyperparameter(0, "seed of the random tokens", minimum=0)


@register_task("memory_footprint")
class MemoryFootprint(Task):
    """The memory that a model needs for n tokens, measured in a process of its own: reading, with a cache, or training."""

    kind = "tokens"
    configuration_type = MemoryFootprintConfiguration
    trains = False
    progress_unit = "measurement"
    session = FootprintSession
    metrics: ClassVar[Mapping[str, Mode]] = {
        "memory/peak_host_mib": "min",
        "memory/weights_mib": "min",
        "vram/peak_allocated_mib": "min",
        "vram/peak_reserved_mib": "min",
        "vram/peak_process_mib": "min",
        "throughput/inference_tokens_per_s": "max",
        "throughput/tokens_per_s": "max",
        "time/total_s": "min",
    }
    reported_metrics = ("memory/weights_mib", "memory/estimated_mib")
    length_metrics: ClassVar = {"n_tokens": (("vram/peak_reserved_mib", "memory/peak_host_mib"),)}
    baselines: ClassVar = {"vram/peak_reserved_mib": "memory/weights_mib", "memory/peak_host_mib": "memory/baseline_host_mib"}

    @classmethod
    def measures(cls, metric: str, architecture: Architecture) -> bool:
        """Nothing is trained, so that there is no loss."""
        return metric in cls.metrics or metric.startswith("params/") or metric == "memory/estimated_mib"

    @classmethod
    def pair_rules(cls, architecture: Architecture) -> tuple[Rule, ...]:
        return () if hasattr(architecture.build, "logits_and_cache") else (_NO_CACHE,)

    @classmethod
    def predicted_mib(cls, architecture: Architecture, model: Any, task: Any) -> float:
        return estimated_mib(architecture, model, task)

    @classmethod
    def data_values(cls, configuration: Any) -> dict[str, Any]:
        """There are no data."""
        return {}

    @classmethod
    def prepare(cls, configuration: Any, folder: Path) -> None:
        """Nothing: tokens are random numbers."""
