"""The metrics that an objective may name besides those of the task, with the direction in which they are better."""

from __future__ import annotations

from trainables.counts import SCOPES
from trainables.task import Mode, Task

_OF_TRAINING = ("train/loss", "time/train_s")
COMMON_METRICS: dict[str, Mode] = {
    "train/loss": "min",
    **dict.fromkeys((f"params/{scope}" for scope in SCOPES), "min"),
    "vram/peak_allocated_mib": "min",
    "vram/peak_reserved_mib": "min",
    "vram/peak_process_mib": "min",
    "memory/peak_host_mib": "min",
    "memory/weights_mib": "min",
    "memory/estimated_mib": "min",
    "time/train_s": "min",
    "time/total_s": "min",
    "throughput/tokens_per_s": "max",
    "throughput/inference_tokens_per_s": "max",
}


def objective_metrics(task_type: type[Task]) -> dict[str, Mode]:
    """All metrics that an objective on this task may name, the task's own first."""
    common = {name: mode for name, mode in COMMON_METRICS.items() if task_type.trains or name not in _OF_TRAINING}
    return dict(task_type.metrics) | dict(task_type.final_metrics) | common
