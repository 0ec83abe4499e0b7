"""What a run has told of the memory that it took on its GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

PROCESS, RESERVED, CONTEXT = "vram/peak_process_mib", "vram/peak_reserved_mib", "vram/context_mib"
STEPPED = "time/total_s"
"""Told with every finished step. Of a run that ended before its first one the peaks are those of a part of a step."""
TOLD = (PROCESS, RESERVED, CONTEXT, STEPPED)
"""The metrics that matter here."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Peaks of one run in MiB."""

    reserved_mib: float
    """Of PyTorch's allocator."""
    outside_mib: float | None
    """What the process held besides, its CUDA context above all; None where that is not known."""

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> Self | None:
        """From the metrics of a run; None where they say too little.

        The peak of the process is sampled and may have been missed, the allocator's is exact: what is outside is at least the
        context where that was measured by itself.
        """
        reserved = metrics.get(RESERVED)
        if reserved is None or STEPPED not in metrics:
            return None
        process, context = metrics.get(PROCESS), metrics.get(CONTEXT)
        outside = [value for value in (context, None if process is None else process - reserved) if value is not None]
        return cls(reserved, max(outside, default=None))
