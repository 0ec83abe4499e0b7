"""Starting or joining Ray, quietly, and what it has to offer."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.ray_executor.joining import driver_code, refuse_wrong_token
from orchestrator.ray_executor.security import closed_ray, require_token_mode

QUIET_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
"""Tune writes no logs of its own (the record is the truth), leaves Ctrl-C to us, and prints nothing."""


@dataclass(frozen=True)
class ClusterResources:
    """What all nodes offer together."""

    cpus: float
    gpus: float
    grows: bool = True
    """Whether there may be more of it later."""


@contextlib.contextmanager
def ray_cluster(address: str | None) -> Iterator[ClusterResources]:
    """Joins the cluster at ``address`` (or RAY_ADDRESS), or starts a local one for as long as the context lasts.

    A local one asks every connection for a token (:func:`closed_ray`); joining one is left to Ray and to RAY_AUTH_MODE.

    Raises:
        OpenClusterRefused: a local one would be open to everyone.
        TokenRefused: the one at ``address`` does not know our token.
        NoCluster: none runs there.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    starts_one = (address or os.environ.get("RAY_ADDRESS") or "local") == "local"
    with closed_ray() if starts_one and not _is_running() else contextlib.nullcontext(), _joined(address, starts_one):
        yield dataclasses.replace(living_resources(), grows=not starts_one)


def living_resources() -> ClusterResources:
    """What the nodes that are alive have together, taken or free."""
    import ray

    found = ray.cluster_resources()
    return ClusterResources(cpus=found.get("CPU", 0.0), gpus=found.get("GPU", 0.0))


@contextlib.contextmanager
def _joined(address: str | None, starts_one: bool) -> Iterator[None]:
    if _is_running():
        yield
        return
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with _interrupt_deferred():
            _start(address, starts_one)
        yield
    finally:
        with _interrupt_deferred():
            ray.shutdown()


def _is_running() -> bool:
    """Whether this process is in a cluster already; a question that must not import Ray before its environment is set."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _start(address: str | None, starts_one: bool) -> None:
    import ray

    if not starts_one:
        refuse_wrong_token(address or os.environ["RAY_ADDRESS"])
    ray.init(
        address=address,
        runtime_env=None if starts_one else driver_code(),
        include_dashboard=False if starts_one else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    if starts_one:
        require_token_mode()


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Ctrl-C waits until the block is through: Ray's native start does not survive an exception in its middle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
