"""The expected memory of training in epochs, by arithmetic: what a run logs, what plans show, and what is left to a prediction
that cannot follow the run."""

from __future__ import annotations

from trainables.counts import ParameterCounts
from trainables.memory.arithmetic import estimated_mib
from trainables.training.request import ResolvedRun


def estimated_run_mib(resolved: ResolvedRun, counts: ParameterCounts, batch_size: int) -> float:
    """MiB with batches of ``batch_size`` examples, by :func:`trainables.memory.arithmetic.estimated_mib`."""
    activations = resolved.architecture.activation_elements(resolved.model, resolved.task)
    activations = activations * resolved.task_type.windows_per_example(resolved.task)
    return float(estimated_mib(counts, activations, batch_size, training=resolved.training.epochs > 0))
