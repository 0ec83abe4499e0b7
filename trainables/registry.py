"""Finds every architecture and task: each file in ``trainables/architectures`` and ``trainables/tasks`` registers its own."""

from __future__ import annotations

import functools
import importlib
import pkgutil

import trainables.architectures
import trainables.tasks
from trainables.architecture import Architecture, registered_architectures
from trainables.task import Task, registered_tasks

RESERVED_ARCHITECTURES = (
    *("gpt", "unified_kv", "delta_net"),
    *("lstm", "lstm_mlp_head", "vq_mlp", "vq_ln_mlp", "vq_ln_pe_mlp", "grouped_vq_mlp"),
    *("hierarchical_vq_mlp", "grouped_hierarchical_vq_mlp"),
    *("memo_gpt", "causal_lm", "lora_attn", "lora_keys_up", "lora_keys_gate", "lora_values"),
    *("knn_lm", "adaptive_knn_lm", "spalm", "pkm", "topk_attention", "memorizing_transformer", "trime", "knn_adapter"),
)
RESERVED_TASKS = (
    *("mqar", "forecasting", "multitask_classification"),
    *("segment_lm", "language_modeling", "memory_footprint"),
)
"""Names that the interface promises; one that is not registered yet is refused as 'not available yet'."""


@functools.cache
def _import_all() -> None:
    for package in (trainables.architectures, trainables.tasks):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


def architectures() -> dict[str, Architecture]:
    """All registered architectures by name."""
    _import_all()
    return registered_architectures()


def tasks() -> dict[str, type[Task]]:
    """All registered tasks by name."""
    _import_all()
    return registered_tasks()
