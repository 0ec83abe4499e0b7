"""Sends files and the command to a head as a Ray job, which goes on when the connection does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.command_line.errors import INTERRUPTED, NO_SUCCESS
from orchestrator.ray_executor.joining import TokenRefused, refusal
from orchestrator.ray_executor.security import token_place
from orchestrator.shipping.remote_command import entrypoint
from orchestrator.shipping.shipment import ShippingError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_POLL_S = 0.5
_LAST_LINES_S = 2.0
_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray's client prefers these to the address that it is given."""


def run_as_job(address: str, staged: Path, arguments: Sequence[str]) -> int:
    """Submits the command to the dashboard at ``address`` (``http://127.0.0.1:8265``) and shows its log until it ends.

    Returns its exit status; 1 where it ended without one, and 130 where it was stopped, or Ctrl-C ended the waiting.

    Raises:
        TokenRefused: the cluster refuses the token.
        ShippingError: the ``cluster`` extra is missing, nothing answers, or the job was not taken.
    """
    with _our_errors(address):
        client = _client(address)
        job = client.submit_job(entrypoint=entrypoint(arguments), runtime_env={"working_dir": str(staged)})
    how = f"RAY_AUTH_MODE=token ray job {{}} {job} --address {address}"
    print(f"job {job}; follow it with  {how.format('logs --follow')}", file=sys.stderr)
    try:
        with _our_errors(address):
            return asyncio.run(_followed(client, job))
    except KeyboardInterrupt:
        print(f"\nthe job goes on; stop it with  {how.format('stop')}", file=sys.stderr)
        return INTERRUPTED


def _client(address: str) -> JobSubmissionClient:
    if token_place() is None:
        raise TokenRefused(refusal(address))
    os.environ["RAY_AUTH_MODE"] = "token"
    for name in _ADDRESSES:
        os.environ.pop(name, None)
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address)


@contextlib.contextmanager
def _our_errors(address: str) -> Iterator[None]:
    """Ray's errors in words for the one who submits."""
    try:
        yield
    except ImportError as error:
        raise ShippingError(f"jobs need more of Ray ({error.name} is missing): pip install 'memsweep[cluster]'") from None
    except ConnectionError:
        told = "is the dashboard on, and its port forwarded (`ray dashboard CLUSTER.yaml`, `ssh -L 8265:127.0.0.1:8265 HEAD`)?"
        raise ShippingError(f"nothing answers at {address}: {told}") from None
    except Exception as error:
        if type(error).__name__ == "AuthenticationError":
            raise TokenRefused(refusal(address)) from None
        if isinstance(error, RuntimeError) and "ray[default]" in str(error):
            raise ShippingError("jobs need more of Ray: pip install 'memsweep[cluster]'") from None
        if isinstance(error, (RuntimeError, ValueError)):
            raise ShippingError(f"{address} did not take the job: {error}") from None
        raise


async def _followed(client: JobSubmissionClient, job: str) -> int:
    shown = _Shown()
    following = asyncio.create_task(_tail(client, job, shown))
    while not (info := await asyncio.to_thread(client.get_job_info, job)).status.is_terminal():
        await asyncio.wait({following}, timeout=_POLL_S)
        if following.done():
            await asyncio.sleep(_POLL_S)
    await asyncio.wait({following}, timeout=_LAST_LINES_S)
    following.cancel()
    shown.complete(await asyncio.to_thread(client.get_job_logs, job))
    return _status(info)


async def _tail(client: JobSubmissionClient, job: str, shown: _Shown) -> None:
    """Shows lines as they come; where the stream breaks, the whole log at the end has the rest."""
    with contextlib.suppress(RuntimeError, OSError):
        async for text in client.tail_job_logs(job):
            shown.add(text)


class _Shown:
    """What of a log was shown already."""

    def __init__(self) -> None:
        self._length = 0

    def add(self, text: str) -> None:
        self._length += len(text)
        sys.stdout.write(text)
        sys.stdout.flush()

    def complete(self, log: str) -> None:
        """Shows what of the whole log the stream did not bring."""
        self.add(log[self._length :])


def _status(info: Any) -> int:
    """The exit status of a job that has ended."""
    ended = str(getattr(info.status, "value", info.status))
    if ended == "SUCCEEDED":
        return 0
    if ended == "STOPPED":
        print("the job was stopped", file=sys.stderr)
        return INTERRUPTED
    code = info.driver_exit_code
    if code is None or code <= 0:
        print(f"error: the job failed: {info.message}", file=sys.stderr)
        return NO_SUCCESS
    return int(code)
