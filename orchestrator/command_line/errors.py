"""Exit statuses, and the errors that are a person's to mend."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

DONE = 0
NO_SUCCESS = 1
WRONG_INPUT = 2
INTERRUPTED = 130

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

P = ParamSpec("P")


def interruptible(command: Callable[P, int]) -> Callable[P, int]:
    """The command, with Ctrl-C at any moment, or a full disk, as its status 130: what was recorded can be resumed."""

    @functools.wraps(command)
    def interrupted_or_done(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            where = f" ({error.filename})" if error.filename else ""
            told = "nothing that was recorded is lost: free some space, then go on with `memsweep resume`"
            print(f"error: {error.strerror}{where}; {told}", file=sys.stderr)
            return INTERRUPTED

    return interrupted_or_done


def user_errors() -> tuple[type[Exception], ...]:
    """Shown as a message without a traceback."""
    from orchestrator.document import SearchSpaceError
    from orchestrator.launch import SweepExists, TrackingElsewhere
    from orchestrator.ray_executor.errors import ResourceError
    from orchestrator.ray_executor.versions import UnsupportedLibrary
    from orchestrator.record import JournalError
    from orchestrator.space.reading.overrides import OverrideError
    from orchestrator.space.specification import WrongName
    from orchestrator.sweep.recorded_space import SpaceChangedByHand
    from orchestrator.tracking import SpoolInUseError
    from trainables.storage import StorageError

    return (
        SearchSpaceError, SweepExists, SpaceChangedByHand, TrackingElsewhere, ResourceError, UnsupportedLibrary,
        JournalError, OverrideError, SpoolInUseError, StorageError, WrongName,
        FileNotFoundError, PermissionError, NotADirectoryError,
    )  # fmt: skip
