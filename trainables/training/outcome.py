"""How a run ended, and the plain-value payload in which a worker tells it."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from trainables.redaction import redact

Outcome = Literal["completed", "diverged", "oom", "failed"]

_OUT_OF_MEMORY_TEXTS = (
    *("out of memory", "can't allocate memory", "not enough memory", "out of shared memory"),
    *("_ALLOC_FAILED", "bad_alloc", "Storage size calculation overflowed"),
)
"""What torch's CPU allocator, its data loaders, the CUDA driver and its libraries say in a plain RuntimeError."""
_LONGEST_MESSAGE, _LONGEST_TRACEBACK = 2_000, 8_000
"""Characters: an exception may quote a whole tensor, and every result is kept in the record."""


def outcome_of_exception(error: BaseException) -> Outcome:
    """``oom`` when memory ran out, wherever it did, also where that led to another exception; ``failed`` for everything else."""
    return "oom" if any(_is_out_of_memory(link) for link in _chain(error)) else "failed"


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    ran_out = isinstance(error, RuntimeError) and any(text in _text(error) for text in _OUT_OF_MEMORY_TEXTS)
    return ran_out or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what led to it, as a traceback shows it; chains may be circular."""
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        context = None if link.__suppress_context__ else link.__context__
        inside = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        waiting += [other for other in (link.__cause__, context, *inside) if other is not None]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "its message cannot be shown"


def tellable(text: str) -> str:
    """Text that a record and a tracker can hold: without secrets, and without halves of characters, which UTF-8 has not."""
    return redact(text).encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class RunError:
    """What is kept of an exception: text alone, since the exception holds the tensors of every frame it passed.

    Without secrets, of a message the first 2,000 characters, of a traceback the last 8,000.
    """

    type: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> RunError:
        message, trace = tellable(_text(error)), tellable("".join(traceback.format_exception(error)))
        return cls(type(error).__name__, message[:_LONGEST_MESSAGE], trace[-_LONGEST_TRACEBACK:])


@dataclass(frozen=True, slots=True)
class Begun:
    """How a worker began a run: ``continued_from`` is the step of the checkpoint that it goes on from, 0 without one."""

    continued_from: int
    provenance: dict[str, str]
    """See :func:`trainables.training.provenance.provenance`."""


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
    begun: Begun | None = None
    """In the first result of a worker only, and not where the set-up failed."""
    needed_mib: float | None = None
    """With ``oom`` on a GPU: what the process would have needed there, its CUDA context included, as far as is known."""
    leaving: bool = False
    """The process has to leave soon, and the run can go on elsewhere from a checkpoint of this step."""
    warning: str | None = None
    """What went wrong without ending the run, such as a checkpoint that could not be written."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: what Ray, the driver's record and the tracking spool carry."""
        return asdict(self)
