"""Exit statuses, and the errors that are a person's to mend."""

from __future__ import annotations

DONE = 0
NO_SUCCESS = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def user_errors() -> tuple[type[Exception], ...]:
    """Shown as a message without a traceback."""
    from orchestrator.document import SearchSpaceError
    from orchestrator.launch import SweepExists
    from orchestrator.ray_executor.resources import ResourceError
    from orchestrator.record import JournalError
    from orchestrator.space.reading.overrides import OverrideError
    from orchestrator.space.specification import WrongName
    from orchestrator.tracking import SpoolInUseError

    return (
        SearchSpaceError, SweepExists, ResourceError, JournalError, OverrideError, SpoolInUseError, WrongName,
        FileNotFoundError, PermissionError, NotADirectoryError,
    )  # fmt: skip
