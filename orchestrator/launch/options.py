"""What the command line adds to a search space, how a sweep ended, and why one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.sweep.folder import SweepFolder


class SweepExists(Exception):
    """A sweep of this name is there already."""


class TrackingElsewhere(Exception):
    """A sweep cannot go on in another tracking store than its own."""


@dataclass(frozen=True)
class LaunchOptions:
    """What the command line adds to a search space."""

    storage: Path
    name: str
    tracking_uri: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class LaunchResult:
    """How a sweep ended."""

    folder: SweepFolder
    completed_trials: int
    interrupted: bool
    undelivered: int
    """Events of the record that are not in MLflow."""
    tracking_error: str | None
    slowest_call_s: dict[str, float]
    failure: str | None = None
    """What kept the runs from beginning, such as a base model that could not be trained."""
