"""What a measuring process is asked, and the lines of JSON in which it and its parent talk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Mode = Literal["infer_no_cache", "infer_kv_cache", "train_step"]
"""What is measured: a forward pass, the same with its cache of keys and values, or a whole step of training."""

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class FootprintRequest:
    """One measurement, as plain values."""

    architecture: str
    model: Mapping[str, Any]
    """All fields of the architecture's configuration."""
    task: Mapping[str, Any]
    """All fields of the task's configuration."""
    seed: int
    """Of the weights."""
    device: str
    """As torch writes it: ``cpu``, ``cuda:0``."""
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which :meth:`from_dict` makes an equal request."""
        values = dataclasses.asdict(self)
        return {**values, "model": dict(self.model), "task": dict(self.task)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)

    def __str__(self) -> str:
        """For people: what was asked."""
        task = self.task
        size = f"{task['batch_size']:,} × {task['n_tokens']:,} tokens in {task['dtype']}"
        return f"{self.architecture}, {task['mode']} of {size} on {self.device}"
