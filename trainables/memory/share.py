"""What one run is given of its GPU, and how its process is kept to it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from trainables.memory import cuda
from trainables.memory.context import DeviceContext
from trainables.memory.shortage import is_of_the_device, refused_mib


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """Of one GPU, in MiB, CUDA context included; on the CPU it says nothing."""

    limit_mib: float | None = None
    """What the process may take; None: all there is."""
    predicted_mib: float | None = None
    """What it is expected to take; None where nothing is expected."""

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """From a reservation's plain values, of which there may be others and these may be missing."""
        return cls(values.get("limit_mib"), values.get("predicted_mib"))


class SharedDevice:
    """Keeps one run to its share of a GPU, from :meth:`begin` to :meth:`end`.

    The allocator is told to refuse what goes beyond, so that an over-run is this run's lack of memory and not its neighbour's.
    """

    def __init__(self, context: DeviceContext, share: MemoryShare) -> None:
        self._context = context
        self._share = share
        self._is_settled = False

    def begin(self) -> None:
        """Creates the CUDA context where there is none, and sets the limit."""
        self._context.create()
        self._limit()

    def settle(self) -> None:
        """After a step: by now the process holds beside its allocator what it will hold; measured once a run."""
        if not self._is_settled:
            self._is_settled = True
            self._context.note_step()
            self._limit()

    def once_metrics(self) -> dict[str, float]:
        """``vram/context_mib`` where it was measured."""
        measured = self._context.measured_mib()
        return {} if measured is None else {"vram/context_mib": measured}

    def needed_mib(self, error: BaseException) -> float | None:
        """MiB that the process would have needed to get past ``error``, as far as is known; None where the host lacked memory.

        To be asked while ``error`` is alive, which holds the tensors of every frame that it passed. The run may need more later
        on: it is what it held at its highest, or held at the end and was refused. Where nobody says how much was refused, it is
        at least the limit.
        """
        text = "".join(traceback.format_exception(error))
        if not is_of_the_device(text):
            return None
        refused = refused_mib(text)
        held = refused or 0.0
        with contextlib.suppress(Exception):  # after a fault every call to the device raises
            held = max(cuda.peak_reserved_mib(self._context.device), cuda.reserved_mib(self._context.device) + (refused or 0.0))
        needed = held + self._context.mib()
        return needed if refused is not None else max(needed, self._share.limit_mib or 0.0)

    def end(self) -> None:
        """Takes the limit away; without one, or on a device that no longer answers, nothing happens."""
        if self._share.limit_mib is not None:
            with contextlib.suppress(Exception):
                cuda.lift_limit(self._context.device)

    def _limit(self) -> None:
        if self._share.limit_mib is not None:
            cuda.set_limit(self._context.device, self._share.limit_mib - self._context.mib())
