"""The sweep's own record: an append-only, checksummed list of events from which everything else is rebuilt."""

from orchestrator.record.journal import Journal, JournalError, JournalInUse, read_journal
from orchestrator.record.validation import checked_events

__all__ = ["Journal", "JournalError", "JournalInUse", "checked_events", "read_journal"]
