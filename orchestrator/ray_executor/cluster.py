"""Starting or joining Ray, quietly, and what it has to offer."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

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


@contextlib.contextmanager
def ray_cluster(address: str | None) -> Iterator[ClusterResources]:
    """Joins the cluster at ``address``, or starts a local one for as long as the context lasts."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    started_here = not ray.is_initialized()
    try:
        if started_here:
            with _interrupt_deferred():
                _start(address)
        found = ray.cluster_resources()
        yield ClusterResources(cpus=found.get("CPU", 0.0), gpus=found.get("GPU", 0.0))
    finally:
        if started_here:
            with _interrupt_deferred():
                ray.shutdown()


def _start(address: str | None) -> None:
    import ray

    ray.init(
        address=address,
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


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
