"""``memsweep sync``: delivers to MLflow what an earlier process could not, from the record."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.options import LaunchOptions
from orchestrator.launch.resumption import held
from orchestrator.launch.tracked import deliver, refuse_tracking_elsewhere, tracked
from orchestrator.record import Journal, checked_events
from orchestrator.sweep.consistency import consistent_state
from orchestrator.sweep.folder import SweepFolder
from orchestrator.sweep.recorded_space import recorded_specification, restore_copy


@dataclass(frozen=True)
class SyncResult:
    """What came of it."""

    undelivered: int
    """Events of the record that are not in MLflow."""
    rejected: int
    """Values that the store refuses for good; they stand in ``spool/rejected.jsonl``."""
    error: str | None


def synchronize(
    folder: SweepFolder, tracking_uri: str | None, everything: bool = False, options: LaunchOptions | None = None
) -> SyncResult:
    """Hands over what lies behind the last delivery, or ``everything`` (after a store was lost), and waits for it.

    Raises:
        JournalInUse: a driver is at work on the sweep and delivers itself.
        TrackingElsewhere: it was tracked at a URI that is not given now.
        JournalError: the record is damaged.
        StorageError: its storage, named by ``options``, cannot be read or written.
    """
    options = options or LaunchOptions(folder.path.parent, folder.name, tracking_uri)
    with held(folder, options, SweepObserver()) as upkeep, Journal(folder.record) as journal:
        events = checked_events(folder.record)
        refuse_tracking_elsewhere(folder, events[0], tracking_uri)
        if not folder.space.exists():  # it is uploaded
            restore_copy(folder, events)
        specification = recorded_specification(folder, events)
        consistent_state(specification, events, folder.record)
        sweep = OpenSweep(specification, folder, journal, events, upkeep)
        with tracked(sweep, tracking_uri, everything) as telemetry:
            tracker = telemetry.tracker
            undelivered = deliver(tracker, len(events))
            return SyncResult(undelivered, tracker.rejected, tracker.last_error)
