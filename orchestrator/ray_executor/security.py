"""A Ray that is started here is closed: a token for every connection, and no port beyond this machine."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.ray_executor.errors import ResourceError

_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_BEYOND_THIS_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch between clusters and one machine; despite its name it is read on Linux too. 0: every port is on 127.0.0.1."""


class OpenClusterRefused(ResourceError):
    """Ray would be started without authentication."""


@contextlib.contextmanager
def closed_ray() -> Iterator[None]:
    """The environment in which to start a local Ray, for as long as that one lives; afterwards it is as it was.

    A token that is configured (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ``~/.ray/auth_token``) is used; otherwise a random one, known
    to this process and its children only and written nowhere. Ray reads its configuration when it is imported: where that has
    happened already, the ports stay open to other machines, behind the token.

    Raises:
        OpenClusterRefused: RAY_AUTH_MODE forbids the token. To do without it, start Ray yourself and name its address.
    """
    mode = os.environ.get(_MODE)
    if mode is not None and mode.lower() != "token":
        raise OpenClusterRefused(
            f"{_MODE}={mode}: memsweep starts Ray with token authentication only; unset {_MODE}, "
            "or start Ray yourself and give --address"
        )
    before = {name: os.environ.get(name) for name in (_MODE, _TOKEN, _BEYOND_THIS_MACHINE)}
    try:
        if token_place() is None:
            os.environ[_TOKEN] = _token_of_this_process()
        if "ray" not in sys.modules:
            os.environ[_MODE] = "token"
            os.environ.setdefault(_BEYOND_THIS_MACHINE, "0")
        yield
    finally:
        _restore(before)


def require_token_mode() -> None:
    """To be called when Ray has started: older ones leave authentication off where they were imported before we could ask for it.

    Raises:
        OpenClusterRefused: Ray runs without authentication.
    """
    if os.environ.get(_MODE, "").lower() != "token":
        raise OpenClusterRefused(f"Ray was imported without authentication: set {_MODE}=token before the start of the process")


def token_place() -> str | None:
    """Where Ray takes the token from, in its order; None where there is none."""
    for name in (_TOKEN, _TOKEN_PATH):
        if os.environ.get(name):
            return name
    return "~/.ray/auth_token" if (Path.home() / ".ray" / "auth_token").is_file() else None


@functools.cache
def _token_of_this_process() -> str:
    """One token for all clusters that this process starts one after another: Ray keeps the first one that it has read."""
    return secrets.token_hex(32)


def _restore(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
