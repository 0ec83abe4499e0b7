"""Before a cluster is joined: whether one answers, and whether it takes our token, said within seconds.

``ray.init`` tries for 20 s, and then speaks of a failed connection, whatever the reason. ``ray status`` is told it at once.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from orchestrator.ray_executor.errors import ResourceError
from orchestrator.ray_executor.security import token_place

RAY = (sys.executable, "-m", "ray.scripts.scripts")
"""The command ``ray`` of this environment, wherever PATH leads."""

_ANSWER_S = 15.0
_HERE = ("auto", "local")


class TokenRefused(ResourceError):
    """The cluster does not know the token that it was shown, or was shown none."""


class NoCluster(ResourceError):
    """There is no cluster at the address."""


def refuse_wrong_token(address: str) -> None:
    """Asks the cluster at ``address`` (as ``ray.init`` takes it) for its status, with the token that a driver would show.

    It takes about two seconds. What remains unclear after 15 s is left to ``ray.init``, and so is an address of another kind
    (``ray://…``).

    Raises:
        TokenRefused: the cluster refuses the token.
        NoCluster: ``auto``, and no cluster runs here; or nothing listens at HOST:PORT, or that is no address.
    """
    if "://" in address:
        return
    if address not in _HERE:
        _refuse_silence(address)
    environment = dict(os.environ)
    if token_place() is not None:
        environment.setdefault("RAY_AUTH_MODE", "token")
    elif environment.get("RAY_AUTH_MODE", "").lower() == "token":
        raise TokenRefused(refusal(address))
    command = [*RAY, "status", "--address", address]
    try:
        asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        return
    _judge(address, asked)


def _refuse_silence(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise NoCluster(f"--address {address} is no address of a Ray cluster: write auto, or HOST:PORT of a head (HOST:6379)")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        cure = "is the cluster up, is it the address of its head, and may this machine reach it?"
        raise NoCluster(f"nothing answers at --address {address} ({error}): {cure}") from None


def _judge(address: str, asked: subprocess.CompletedProcess[str]) -> None:
    if asked.returncode == 0:
        return
    if "AuthenticationError" in asked.stderr or "InvalidAuthToken" in asked.stderr:
        raise TokenRefused(refusal(address))
    if "Could not find any running Ray instance" in asked.stderr:
        raise NoCluster(f"no Ray cluster runs here for --address {address}: start one, or give that of a head (HOST:6379)")


def refusal(address: str) -> str:
    """What to say when the cluster at ``address`` refuses us; which token was shown is named by its place, never by its text."""
    mode, place = os.environ.get("RAY_AUTH_MODE"), token_place()
    cure = "copy the cluster's token (~/.ray/auth_token on its head) into ~/.ray/auth_token here, or into RAY_AUTH_TOKEN"
    if mode is not None and mode.lower() != "token":
        return f"the cluster at {address} asks for a token, and RAY_AUTH_MODE={mode} shows none: unset it, or set it to token"
    if place is None:
        return f"the cluster at {address} is joined with a token, and none was found here: {cure}"
    return f"the cluster at {address} refuses the token: the one in {place} is another; {cure}"


def driver_code() -> dict[str, list[str]]:
    """The runtime environment with which a cluster is joined: its workers run the code of the driver, whatever their nodes have.

    A few MiB, sent once a version. Data are not in it. Ray puts the working directory of the driver before it: a node that has
    that folder runs what lies there.
    """
    import orchestrator
    import trainables

    return {"py_modules": [str(Path(str(package.__file__)).parent) for package in (orchestrator, trainables)]}
