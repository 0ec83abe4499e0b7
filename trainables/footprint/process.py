"""A measurement in a process of its own, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import trainables
from trainables.footprint.request import FootprintRequest
from trainables.training.outcome import tellable

# -P: what lies in the working directory is no module of ours.
COMMAND = (sys.executable, "-P", "-m", "trainables.footprint.child")
_LONGEST_NOTES = 4_000
_MALLOC = {
    # Every tensor of 32 KiB or more is a mapping of its own, which goes back to the system when it is freed. Otherwise glibc
    # keeps what was freed, and the figures tell of its past instead of what is needed. Small models on the CPU lose speed by it.
    "MALLOC_MMAP_THRESHOLD_": "32768",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}


class FootprintOutOfMemory(MemoryError):
    """Memory ran out in the measuring process; the text says what was asked."""


class FootprintFailed(Exception):
    """The measuring process ended without a result, for another reason than memory."""


def measure_in_process(request: FootprintRequest, beat: Callable[[], None], command: Sequence[str] = COMMAND) -> dict[str, float]:
    """The metrics that :func:`trainables.footprint.measurement.measure` tells from a process of its own.

    ``beat`` is called on each sign of life; ``command`` starts the process, which talks as :mod:`trainables.footprint.child`.
    However this call ends, the process is gone; and it ends itself when this one does.

    Raises:
        FootprintOutOfMemory: memory ran out there, or the system killed the process.
        FootprintFailed: anything else; the text holds its traceback.
    """
    with tempfile.TemporaryFile() as notes, _process(command, notes) as process:
        _ask(process, request)
        answer: Mapping[str, Any] = {}
        for line in _lines(process):
            beat()
            answer = answer if "beat" in line else line
        status = process.wait()
        return _metrics_of(request, answer, status, _tail(notes))


@contextmanager
def _process(command: Sequence[str], notes: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=notes, env=_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            _close(pipe)


def _environment() -> dict[str, str]:
    root = str(Path(trainables.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **_MALLOC, "PYTHONPATH": path}


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):  # what was not sent yet has no reader any more
            pipe.close()


def _ask(process: subprocess.Popen[bytes], request: FootprintRequest) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # where it ended before it read, its status tells how
        process.stdin.write(json.dumps(request.to_dict()).encode() + b"\n")
        process.stdin.flush()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[Mapping[str, Any]]:
    """What it tells until it ends; what is no JSON object, such as a line torn by its death, is nothing."""
    assert process.stdout is not None
    for text in process.stdout:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _metrics_of(request: FootprintRequest, answer: Mapping[str, Any], status: int, notes: str) -> dict[str, float]:
    metrics, error = answer.get("metrics"), answer.get("error")
    if isinstance(metrics, dict) and all(_is_figure(value) for value in metrics.values()):
        return {str(name): float(value) for name, value in metrics.items()}
    if isinstance(error, dict):
        _raise_told(request, error, bool(answer.get("out_of_memory")))
    if status == -signal.SIGKILL:
        raise FootprintOutOfMemory(f"the measuring process was killed (SIGKILL), as systems do where memory runs out: {request}")
    raise FootprintFailed(f"the measuring process ended with status {status} and no result: {request}\n{notes}")


def _raise_told(request: FootprintRequest, error: Mapping[str, Any], out_of_memory: bool) -> None:
    text = f"{error.get('type')}: {error.get('message')}"
    if out_of_memory:
        raise FootprintOutOfMemory(f"memory ran out measuring {request}: {text}")
    raise FootprintFailed(f"{text}\nmeasuring {request}, in a process of its own:\n{error.get('traceback')}")


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _tail(notes: IO[bytes]) -> str:
    size = notes.seek(0, os.SEEK_END)
    notes.seek(max(0, size - _LONGEST_NOTES))
    return tellable(notes.read().decode("utf-8", "replace"))
