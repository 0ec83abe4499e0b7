"""Outcomes: how a run can end, and what that means to the sampler, MLflow and the count of trials. The one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]
"""How MLflow says that a run has ended."""


@dataclass(frozen=True)
class Outcome:
    """One row of the table."""

    name: str
    sampler_state: str | None
    """What Optuna is told; None is nothing at all."""
    constraint: str | None
    """Set to 1 (violated) on the suggestion."""
    mlflow_status: FinalStatus
    counts: bool
    """Whether it counts as a trial of the study's budget."""
    meaning: str


OUTCOMES = {
    outcome.name: outcome
    for outcome in (
        Outcome("completed", "COMPLETE", None, "FINISHED", True, "reached its budget"),
        Outcome("stopped", "PRUNED", None, "FINISHED", True, "ended by the stopping rule"),
        Outcome("diverged", "PRUNED", "diverged", "FAILED", True, "NaN or infinity in the loss or an objective"),
        Outcome("oom", "PRUNED", "oom", "FAILED", True, "out of memory"),
        Outcome("failed", "FAIL", None, "FAILED", True, "an exception, or a process that died"),
        Outcome("interrupted", None, None, "KILLED", False, "the sweep was interrupted; `memsweep resume` goes on"),
    )
}

PRECEDENCE = ("completed", "stopped", "diverged", "oom", "failed")
"""A trial with several runs has the first of these that any of its runs has: its value is the mean of the completed ones."""


def trial_outcome(run_outcomes: list[str]) -> str:
    """The outcome of a trial from those of its runs."""
    return next(name for name in PRECEDENCE if name in run_outcomes)
