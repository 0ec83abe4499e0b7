"""The tracker of an open sweep: handed what an earlier process could not deliver, waited for at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.options import TrackingElsewhere
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.telemetry import PARENT, MlflowTelemetry
from orchestrator.tracking import Tracker

DELIVERY_PATIENCE_S = 60.0
"""How long the tracker is waited for; what it has not taken by then is left to ``memsweep sync``."""


def refuse_tracking_elsewhere(folder: SweepFolder, header: Mapping[str, Any], tracking_uri: str | None) -> None:
    """A URI may hold a password, so the record knows only that there was one.

    Raises:
        TrackingElsewhere: the sweep was begun with a tracking URI, and none is given now.
    """
    if header.get("own_tracking") and tracking_uri is None:
        raise TrackingElsewhere(f"the runs of `{folder.name}` are tracked elsewhere: give the same --tracking-uri as before")


@contextlib.contextmanager
def tracked(sweep: OpenSweep, tracking_uri: str | None, everything: bool = False) -> Iterator[MlflowTelemetry]:
    """The tracker of a sweep, which has been handed what an earlier process could not deliver (or ``everything``).

    Raises:
        SpoolInUseError: another process delivers from this sweep's folder.
    """
    tracker = _tracker(sweep, tracking_uri)
    try:
        if everything:
            tracker.forget_deliveries()
        elif tracker.delivered > len(sweep.events):  # a loss of power has cost the record its tail
            tracker.forget_deliveries(len(sweep.events))
        telemetry = MlflowTelemetry(tracker, sweep.specification, sweep.events[0]["identity"], sweep.folder.path)
        telemetry.tell_again(sweep.events)
        yield telemetry
    finally:
        tracker.close(0.0)


def deliver(tracker: Tracker, position: int) -> int:
    """Waits for the tracker, at most :data:`DELIVERY_PATIENCE_S`, and ends it; returns how many of ``position`` events of the
    record are not in MLflow."""
    tracker.close(DELIVERY_PATIENCE_S)
    return max(tracker.pending, position - tracker.delivered)


def _tracker(sweep: OpenSweep, tracking_uri: str | None) -> Tracker:
    specification, folder = sweep.specification, sweep.folder
    known = {event["run"]: event["tracking_id"] for event in sweep.events if event["kind"] == "tracking"}

    def note_run_id(key: str, tracking_id: str) -> None:
        name = key.rpartition("/")[2]
        run = None if name == PARENT else name
        if known.get(run) != tracking_id:
            known[run] = tracking_id
            sweep.journal.append({"kind": "tracking", "run": run, "tracking_id": tracking_id})

    return Tracker(
        folder.spool,
        tracking_uri or folder.default_tracking_uri,
        specification.tracking.experiment or specification.name,
        folder.artifact_location if tracking_uri is None else None,
        note_run_id,
        afresh=True,
    )
