"""Exit statuses, and the errors that are a person's to mend."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

DONE = 0
NO_SUCCESS = 1
WRONG_INPUT = 2
INTERRUPTED = 130

P = ParamSpec("P")


def interruptible(command: Callable[P, int]) -> Callable[P, int]:
    """The command, with Ctrl-C at any moment as its status 130."""

    @functools.wraps(command)
    def interrupted_or_done(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED

    return interrupted_or_done


def user_errors() -> tuple[type[Exception], ...]:
    """Shown as a message without a traceback."""
    from orchestrator.document import SearchSpaceError
    from orchestrator.launch import SweepExists, TrackingElsewhere
    from orchestrator.ray_executor.resources import ResourceError
    from orchestrator.record import JournalError
    from orchestrator.space.reading.overrides import OverrideError
    from orchestrator.space.specification import WrongName
    from orchestrator.sweep.recorded_space import SpaceChangedByHand
    from orchestrator.tracking import SpoolInUseError

    return (
        SearchSpaceError, SweepExists, SpaceChangedByHand, TrackingElsewhere, ResourceError, JournalError, OverrideError,
        SpoolInUseError, WrongName, FileNotFoundError, PermissionError, NotADirectoryError,
    )  # fmt: skip
