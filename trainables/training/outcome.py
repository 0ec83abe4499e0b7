"""How a run ended, and the plain-value payload in which a worker tells it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Outcome = Literal["completed", "diverged", "oom", "failed"]

_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch's CPU allocator, the CUDA driver and its libraries say in a plain RuntimeError."""


def outcome_of_exception(error: BaseException) -> Outcome:
    """``oom`` when memory ran out, wherever it did; ``failed`` for everything else."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "oom"
    ran_out = isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)
    return "oom" if ran_out else "failed"


@dataclass(frozen=True, slots=True)
class RunError:
    """What is kept of an exception: text alone, since the exception holds the tensors of every frame it passed."""

    type: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> RunError:
        return cls(type(error).__name__, str(error), "".join(traceback.format_exception(error)))


@dataclass(frozen=True, slots=True)
class Payload:
    """One result of a run, under the key ``memsweep`` of what a trainable returns."""

    run: str
    fingerprint: str | None
    progress: int
    metrics: dict[str, float] = field(default_factory=dict)
    once: dict[str, float] = field(default_factory=dict)
    """Metrics that do not change, in the first result of a worker only."""
    outcome: Outcome | None = None
    """None while the run goes on."""
    error: RunError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what Ray, the driver's record and the tracking spool carry."""
        values = {name: getattr(self, name) for name in ("run", "fingerprint", "progress", "metrics", "once", "outcome")}
        error = None if self.error is None else {name: getattr(self.error, name) for name in RunError.__slots__}
        return {**values, "error": error}
