"""Small runs of every kind whose memory is predicted, with their data."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from trainables.prepared import prepare_data
from trainables.training.request import ResolvedRun, RunRequest

RECALL: dict[str, Any] = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 128, "val_examples": 64}
SERIES: dict[str, Any] = {"time_steps": 24, "series_length": 200}
TEXT: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": 32, "segments": 2, "eval_segments": 2, "eval_stride": 16},
    **{"train_tokens": 4096, "fit_tokens": 512, "val_tokens": 512, "test_tokens": 512},
}
CROPS: dict[str, Any] = {
    **{"corpus": "facts", "train_tokens": 4096, "val_tokens": 2048, "train_length": 32, "val_length": 64},
    **{"n_segments": 4, "train_crops": 16, "eval_crops": 8, "n_questions": 0},
}
TASKS: dict[str, dict[str, Any]] = {"mqar": RECALL, "forecasting": SERIES, "language_modeling": TEXT, "segment_lm": CROPS}
WIDTHS: dict[str, Any] = {"dim": 16, "n_layers": 2, "n_heads": 2, "dk": 8, "dv": 8, "use_ffn": True}


@functools.cache
def _artifacts() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def run(architecture: str, task: str = "mqar", **values: Any) -> ResolvedRun:
    """A small run; ``task`` and ``training`` values under ``task_values`` and ``training``, all others of the model."""
    task_values, training = values.pop("task_values", {}), values.pop("training", {})
    request = RunRequest(
        run="predicted",
        architecture=architecture,
        task=task,
        model=values,
        task_values={**TASKS[task], **task_values},
        training={"batch_size": 8, "eval_batch_size": 8, "gradient_accumulation": 1, **training},
        artifacts=Path(_artifacts().name),
    )
    return request.resolved()


def data_of(resolved: ResolvedRun) -> Path:
    return prepare_data(Path(_artifacts().name), resolved.task_type, resolved.task)
