"""The measuring process: reads a request as a line of JSON, writes signs of life and then one result as lines of JSON.

It ends when its standard input does, so that it never outlives the worker that waits for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from trainables.footprint.measurement import measure
from trainables.footprint.request import FootprintRequest
from trainables.heartbeat import Heartbeat
from trainables.training.outcome import RunError, outcome_of_exception

_INTERVAL_S = 1.0
_LEFT_ALONE = 3
"""The exit status of a process whose parent is gone."""

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Serves one request."""
    # Of an interrupt at a terminal the parent decides what becomes of this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell = _telling(_own_output())
    request = FootprintRequest.from_dict(json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    heartbeat = Heartbeat(lambda _: tell({"beat": True}), _INTERVAL_S)
    heartbeat.begin("measurement")
    tell(answer(request, heartbeat.beat))


def answer(request: FootprintRequest, beat: Callable[[], None]) -> dict[str, Any]:
    """``metrics``, or what went wrong (``error``: type, message and traceback) and whether that was a lack of memory."""
    try:
        return {"metrics": measure(request, beat)}
    except Exception as error:
        told = RunError.of(error)
        failure = {"type": told.type, "message": told.message, "traceback": told.traceback}
        return {"error": failure, "out_of_memory": outcome_of_exception(error) == "oom"}


def _own_output() -> TextIO:
    """Standard output for the answers alone: what libraries print goes to standard error."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _telling(output: TextIO) -> Tell:
    def tell(line: dict[str, Any]) -> None:
        output.write(json.dumps(line) + "\n")
        output.flush()

    return tell


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_LEFT_ALONE)


if __name__ == "__main__":
    main()
