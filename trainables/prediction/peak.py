"""The expected memory of a run on a GPU: followed without one where that can be done, else by arithmetic."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainables.memory.arithmetic import MIB
from trainables.prediction.allocator import LARGE_SEGMENT, SMALL_SEGMENT, round_up
from trainables.prediction.trace import Limits, NotTraceable, trace_run
from trainables.training.estimate import estimated_run_mib
from trainables.training.request import ResolvedRun

WORKSPACE_MIB = 32.0
"""A workspace of cuBLAS on Hopper and newer, on older devices 8.125 MiB. A process has two, as backward passes have a thread."""
_WORKSPACES = 2
_MOST_OPERATIONS = 50_000
"""Some seconds. A longer trace is not worth waiting for."""
_KEPT = 4096
_WITHOUT_INFLUENCE = frozenset(
    ("lr", "weight_decay", "beta1", "beta2", "lr_gamma", "lr_min", "shuffle", "stop_at_target", "optimizer")
)
"""Training values that change numbers and no sizes; both optimisers keep the same."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictedPeak:
    """Peaks of the caching allocator of one run in MiB, without the CUDA context, which is outside of it."""

    allocated_mib: float
    """As ``torch.cuda.max_memory_allocated`` tells it."""
    reserved_mib: float
    """As ``torch.cuda.max_memory_reserved`` tells it."""
    how: Literal["traced", "arithmetic"]
    reason: str = ""
    """Why it is by arithmetic, or why a traced one may be too low."""


def predict_peak(resolved: ResolvedRun, data: Path | None, *, workspace_mib: float = WORKSPACE_MIB) -> PredictedPeak:
    """What a run takes at most on a GPU, from a training step with the optimiser's moments and from an evaluation.

    The run is followed on tensors without numbers (about 0.1 ms an operation, nothing large is made). Runs that cannot be
    followed, and all where ``data`` is None, are estimated by arithmetic, which is told. Configurations that differ in values
    without influence on sizes, such as the learning rate, are followed once.

    May be called from several threads, of which one works at a time. Random states, gradient mode and types are left as they are.

    Args:
        resolved: the run.
        data: the folder of its prepared data (:func:`trainables.prepared.prepare_data`).
        workspace_mib: MiB of a cuBLAS workspace of the device.
    """
    key = _key(resolved, data, workspace_mib)
    with _lock:
        found = _known.get(key)
        if found is None:
            found = _predict(resolved, data, workspace_mib)
            if data is None or data.is_dir():  # else the data may be there the next time
                _known[key] = found
            while len(_known) > _KEPT:
                _known.popitem(last=False)
    return found


_lock = threading.Lock()
_known: OrderedDict[str, PredictedPeak] = OrderedDict()


def _key(resolved: ResolvedRun, data: Path | None, workspace_mib: float) -> str:
    values = resolved.identity_values()
    training = {name: value for name, value in values["training"].items() if name not in _WITHOUT_INFLUENCE}
    training["epochs"] = training["epochs"] > 0
    training["clip_grad"] = training["clip_grad"] is not None
    return json.dumps([{**values, "training": training}, str(data), workspace_mib], sort_keys=True, default=str)


def _predict(resolved: ResolvedRun, data: Path | None, workspace_mib: float) -> PredictedPeak:
    try:
        if data is None:
            raise NotTraceable("its data are not prepared")
        trace = trace_run(resolved, data, Limits(_MOST_OPERATIONS, int(workspace_mib * MIB)))
    except Exception as error:  # whatever modules and tasks do with tensors that have no numbers
        _logger.debug("the memory of %s is estimated by arithmetic", resolved.architecture.name, exc_info=True)
        return _by_arithmetic(resolved, _reason(error), workspace_mib)
    allocator, reason = trace.allocator, "" if trace.is_whole else "its evaluation is long and was followed in part"
    return PredictedPeak(allocator.peak_allocated / MIB, allocator.peak_reserved / MIB, "traced", reason)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return lines[0] if isinstance(error, NotTraceable) else f"{type(error).__name__}: {lines[0]}"


def _by_arithmetic(resolved: ResolvedRun, reason: str, workspace_mib: float) -> PredictedPeak:
    """With room for a segment of either kind that is hardly used, in whole segments."""
    allocated = _estimated_mib(resolved) + _WORKSPACES * workspace_mib
    reserved = round_up(int(allocated * MIB), SMALL_SEGMENT) + SMALL_SEGMENT + LARGE_SEGMENT
    return PredictedPeak(allocated, reserved / MIB, "arithmetic", reason)


def _estimated_mib(resolved: ResolvedRun) -> float:
    architecture, model, task, training = resolved.architecture, resolved.model, resolved.task, resolved.training
    own: float | None = resolved.task_type.predicted_mib(architecture, model, task)
    if own is not None:
        return own
    batch_size = training.batch_size if training.epochs else training.eval_batch_size
    return estimated_run_mib(resolved, architecture.count(model, task), batch_size)
