"""Sends files to the head of a cluster that ``ray up`` started, and runs the command there, both with Ray's own tools."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from orchestrator.ray_executor.joining import RAY
from orchestrator.shipping.remote_command import FOLDER, Output, RemoteCommand
from orchestrator.shipping.shipment import ShippingError

_SHOWN_LINES = 15
LOST = 1


def run_over_ssh(cluster: Path, staged: Path, arguments: Sequence[str], *, has_terminal: bool) -> int:
    """Copies ``staged`` to the head of ``cluster``, runs memsweep there and shows its output as it comes.

    Returns the exit status of the command; 1 where the connection ended before it did.

    Raises:
        ShippingError: the head was not reached.
    """
    _send(cluster, staged)
    command = RemoteCommand(arguments, has_terminal)
    line = [*RAY, "exec", str(cluster), command.line]
    stdin = None if has_terminal else subprocess.DEVNULL
    with subprocess.Popen(line, env=_environment(), stdin=stdin, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        status = _show(running.stdout, Output(command.mark))
    if status is None:
        told = "the connection ended before the command did; it may still run on the head: look with"
        print(f"error: {told} `ray exec {cluster} 'ps -ef | grep orchestrator'`", file=sys.stderr)
        return LOST
    return status


def _send(cluster: Path, staged: Path) -> None:
    line = [*RAY, "rsync-up", str(cluster), f"{staged}/", f"{FOLDER}/"]
    sent = subprocess.run(line, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if sent.returncode != 0:
        told = _reason(f"{sent.stdout}\n{sent.stderr}".strip())
        raise ShippingError(f"the files did not get to the head of {cluster} (is the cluster up? `ray up {cluster}`): {told}")


def _reason(output: str) -> str:
    """What Ray's tools say when they fail: of a traceback the last line, else the last few."""
    lines = output.splitlines() or ["it is not said why"]
    return lines[-1] if "Traceback (most recent call last)" in output else "\n".join(["", *lines[-_SHOWN_LINES:]])


def _show(stream: IO[bytes], output: Output) -> int | None:
    """Passes the output on as it comes, in pieces: a question has no line end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := os.read(stream.fileno(), 65536):
        _write(output.feed(decoder.decode(piece)))
    _write(output.rest())
    return output.status


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _environment() -> dict[str, str]:
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
