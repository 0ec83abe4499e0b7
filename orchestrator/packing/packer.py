"""Gives each run the smallest share of a GPU that holds what it is expected to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.packing.ahead import Ahead
from orchestrator.packing.capacity import Capacity, GpuMemory, capacity_of
from orchestrator.packing.classes import WHOLE, GpuClass, class_of
from orchestrator.packing.prediction import Prediction
from orchestrator.packing.reservation import Reservation
from trainables import registry
from trainables.training.request import RunRequest

NEED_MARGIN = 0.25
"""Added to what a run would have needed when memory ran out: it stood in the middle of a step, and it is begun only once more."""


class Packer:
    """A :class:`orchestrator.packing.Reserver` for GPUs with ``capacity``.

    Runs together on a GPU never hold more than its capacity: Ray lets shares of one GPU in sum onto it, and the limit of a share
    is the same share of the capacity. A run that has a GPU for itself has no limit but the GPU's own.
    """

    def __init__(self, cpus: float, capacity: Capacity, prediction: Prediction, warn: Callable[[str], None]) -> None:
        self._cpus = cpus
        self._capacity = capacity
        self._prediction = prediction
        self._ahead = Ahead(prediction.look_ahead)
        self._warn = warn
        self._warned: set[tuple[str, str]] = set()

    def is_ready(self, request: RunRequest) -> bool:
        return self._prediction.knows(request) or self._ahead.is_known(request)

    def reserve(self, request: RunRequest, needed_mib: float | None = None) -> Reservation:
        if needed_mib is not None:
            self._prediction.note_need(request, needed_mib)
        expected = self._prediction.expect(request)
        need = 0.0 if expected is None else expected.with_margin_mib
        predicted = None if expected is None else expected.mib
        if needed_mib is not None:
            need, predicted = max(need, needed_mib * (1 + NEED_MARGIN)), max(predicted or 0.0, needed_mib)
        size = WHOLE if predicted is None or is_alone(request.task) else class_of(need, self._capacity.capacity_mib)
        if predicted is not None and need > self._capacity.capacity_mib:
            self._warn_of(request, need)
        return self._reservation(size, predicted)

    def learn(self, request: RunRequest, metrics: Mapping[str, float]) -> None:
        self._prediction.learn(request, metrics)

    def fits(self, needed_mib: float) -> bool:
        """Whether a GPU of its own would hold it. A run that had one, and needed more, does not fit."""
        return needed_mib <= self._capacity.whole_mib

    def joined(self, gpus: Sequence[GpuMemory]) -> None:
        """Further GPUs were found: where one of them is smaller, runs are given parts of that from now on."""
        found = capacity_of(gpus)
        if found is not None and found.capacity_mib < self._capacity.capacity_mib:
            self._capacity = found

    def _reservation(self, size: GpuClass, predicted_mib: float | None) -> Reservation:
        limit = None if size.is_whole else size.limit_mib(self._capacity.capacity_mib)
        return Reservation(self._cpus, size.fraction, limit, predicted_mib)

    def _warn_of(self, request: RunRequest, need_mib: float) -> None:
        """Once for each pair of architecture and task."""
        pair = (request.architecture, request.task)
        if pair not in self._warned:
            self._warned.add(pair)
            self._warn(
                f"a run of {request.architecture} on {request.task} may take {need_mib:,.0f} MiB, and there are "
                f"{self._capacity.capacity_mib:,.0f} MiB for runs on the smallest usable GPU ({self._capacity.of}): it gets a "
                "whole GPU, as do others like it, and may run out of memory"
            )


def is_alone(task: str) -> bool:
    """Whether runs of a task must have their GPU for themselves: those that measure memory in processes of their own, which the
    limit of a worker does not reach."""
    session = registry.tasks()[task].session
    return session is not None and bool(session.measures_memory)
