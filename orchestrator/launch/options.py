"""What the command line adds to a search space, how a sweep ended, and why one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.storage import StoredSweeps
from orchestrator.sweep.folder import SweepFolder


class SweepExists(Exception):
    """A sweep of this name is there already."""


class TrackingElsewhere(Exception):
    """A sweep cannot go on in another tracking store than its own."""


@dataclass(frozen=True)
class LaunchOptions:
    """What the command line adds to a search space."""

    storage: Path
    """Where the sweep's folder lies; of a storage behind a URI, this machine's working copies."""
    name: str
    tracking_uri: str | None = None
    address: str | None = None
    stored: StoredSweeps | None = None
    """The storage, where it is behind a URI."""
    take_over: bool = False
    """Whether a driver that may still be alive loses the sweep."""


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
